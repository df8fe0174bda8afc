"""What a shop's files teach the behaviour channel: clicks to learn from, and later ones to choose a network by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.behaviour.clicks import gather, moment, query_key
from model.catalog import CatalogError, Rejects, read_interactions, read_products, searchable_text, split_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from model.behaviour.clicks import Census, Clicks, Limits
    from model.catalog import Interaction

DEV_SHARE = 0.1
_MOST_DEV_PAIRS = 2000
_FEWEST_DEV_PAIRS = 10


@dataclass(frozen=True, slots=True)
class Lesson:
    """A catalogue, the clicks to learn from, and the pairs of later ones: ``dev_query``, ``dev_product`` (P,).

    ``until`` is the time of the last click learnt from, None where most clicks have no time. ``untouched`` counts the
    clicks of queries that are kept for tests.
    """

    product_ids: list[str]
    texts: list[str]
    train: Clicks
    dev_query: NDArray[np.int64]
    dev_product: NDArray[np.int64]
    until: str | None
    untouched: int
    census: Census

    def remarks(self) -> list[str]:
        """What a person should know, a line each."""
        found = self.census.remarks()
        if self.until is None:
            found.append("most clicks have no time: the pairs to choose by are drawn by chance and are not the latest")
        return found


def read_lesson(
    catalog: Path, interactions: Path, limits: Limits, *, max_reject_share: float, all_queries: bool, seed: int
) -> tuple[Lesson, dict[str, Rejects]]:
    """Read a catalogue and interactions with its products.

    The last tenth of the clicks that have a time is for dev; where most have none, a tenth of the pairs by chance.
    Clicks of the queries that ``saddle evaluate`` tests on are left alone, unless ``all_queries`` are asked for.

    Raises:
        CatalogError: an unusable file, more than ``max_reject_share`` of its rows rejected, or too few clicks.
    """
    rejects = {"catalog": Rejects(), "interactions": Rejects()}
    products = [(p.product_id, searchable_text(p)) for p in read_products(catalog, rejects["catalog"])]
    rejects["catalog"].check(max_reject_share)
    ids = [product_id for product_id, _ in products]
    tested: set[str] = set()
    rows = _noting_tests(read_interactions(interactions, rejects["interactions"]), tested)
    clicks, census = gather(rows, ids, limits)
    rejects["interactions"].check(max_reject_share)
    untouched = 0
    if not all_queries:
        ours = np.array([query not in tested for query in clicks.queries], dtype=np.bool_)[clicks.query]
        clicks, untouched = clicks.where(ours), int((~ours).sum())
    train, dev, until = _split(clicks, len(ids), seed)
    if len(dev) < _FEWEST_DEV_PAIRS:
        raise CatalogError(
            f"{len(clicks):,} clicks are too few to learn a behaviour channel from: only {len(dev)} pairs to choose "
            f"by, and it takes {_FEWEST_DEV_PAIRS}"
        )
    query, product = np.divmod(dev, len(ids))
    texts = [text for _, text in products]
    return Lesson(ids, texts, train, query, product, until, untouched, census), rejects


def _noting_tests(interactions: Iterable[Interaction], tested: set[str]) -> Iterator[Interaction]:
    """``interactions``, and into ``tested`` the keys of those queries that are of the test split however written."""
    for interaction in interactions:
        if split_of(interaction.query) == "test":
            tested.add(query_key(interaction.query))
        yield interaction


def _split(clicks: Clicks, products: int, seed: int) -> tuple[Clicks, NDArray[np.int64], str | None]:
    """Train clicks, keys of dev pairs, and the time between them; clicks without a time are never later ones."""
    keys = clicks.query.astype(np.int64) * products + clicks.product
    rng = np.random.default_rng(seed)
    timed = int(np.isfinite(clicks.time).sum())  # they come first
    if 2 * timed < len(clicks):
        pairs = np.unique(keys)
        dev = rng.permutation(pairs)[: int(DEV_SHARE * len(pairs))]
        train, until = clicks.where(~np.isin(keys, dev)), None
    else:
        cut = timed - int(DEV_SHARE * timed)
        later = slice(cut, timed)
        kept = np.ones(len(clicks), dtype=np.bool_)
        kept[later] = False
        train, dev = clicks.where(kept), np.unique(keys[later])
        until = moment(clicks.time[cut - 1]) if cut else None
    return train, np.sort(rng.permutation(dev)[:_MOST_DEV_PAIRS]), until
