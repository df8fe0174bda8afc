"""Clicks on the way into a snapshot: learnt anew, or kept as the snapshot before has them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from shutil import rmtree
from typing import TYPE_CHECKING, NamedTuple

import typer

from service.commands import computing
from service.commands.train_behaviour import Asked, train_behaviour

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Nightly:
    """What was asked for: ``keep`` says that interactions which are refused must not stop the index."""

    model: Path
    catalog: Path
    interactions: Path
    root: Path
    minutes: float
    all_queries: bool
    max_reject_share: float
    rejects: Path
    keep: bool


class Clicks(NamedTuple):
    """A behaviour bundle, if there is one, and why the interactions were ``refused``, if they were."""

    bundle: Path | None
    refused: str | None = None


@contextmanager
def clicks(asked: Nightly) -> Iterator[Clicks]:
    """A behaviour bundle learnt from interactions, there for as long as the context lasts.

    What was learnt so far is kept in the root until the context ends well: where the build fails, the next try has it.

    Raises:
        CatalogError: nothing can be learnt from the interactions, and nothing is to be kept.
        SnapshotError: another process is learning for this root.
    """
    from index.root import learning
    from model.catalog import CatalogError

    checkpoint = asked.root / ".behaviour.checkpoint"
    with learning(asked.root) as directory:
        bundle = directory / "bundle"
        computing.prepare()
        try:
            train_behaviour(
                Asked(
                    catalog=asked.catalog,
                    interactions=asked.interactions,
                    text=asked.model,
                    out=bundle,
                    minutes=asked.minutes,
                    all_queries=asked.all_queries,
                    checkpoint=checkpoint,
                    others_checkpoint="discard",
                    max_reject_share=asked.max_reject_share,
                    rejects=asked.rejects,
                )
            )
            found = Clicks(bundle)
        except CatalogError as error:
            if not asked.keep:
                raise
            found = Clicks(_of_before(asked.root, asked.model), str(error))
            _say_refused(asked, found)
        yield found
        rmtree(checkpoint, ignore_errors=True)


def _of_before(root: Path, model: Path) -> Path | None:
    """The behaviour bundle of the current snapshot, if it has one that stands on the text bundle ``model``."""
    from index.root import current
    from index.snapshot import BEHAVIOUR, BUNDLE, SnapshotError
    from model import bundle as text
    from model.behaviour import bundle as behaviour

    try:
        found = current(root) / BEHAVIOUR / BUNDLE
        stands_on = behaviour.load_manifest(found).text
    except (SnapshotError, behaviour.BehaviourBundleError):
        return None
    return found if stands_on == text.load_manifest(model).version else None


def _say_refused(asked: Nightly, found: Clicks) -> None:
    kept = "keeps the clicks that the snapshot before knows" if found.bundle else "gets no channel of clicks"
    said = f"Nothing is learnt from {asked.interactions}: {found.refused}. All the same, the index {kept}"
    typer.secho(said, err=True, fg=typer.colors.RED, bold=True)
