"""``saddle reindex``: a catalogue and an encoder bundle into the current snapshot of an index."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from index.shapes import Choice  # noqa: TC001 - typer reads the annotation
from service.commands import CommandError
from service.commands.clicks import Nightly, clicks
from service.commands.train_behaviour import MINUTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import TaskID

    from index.build import BuildReport, Stage
    from index.fusion import Fusion
    from index.picture_files import PictureCensus
    from index.snapshot import Trial

_LABELS: dict[Stage, str] = {
    "encode": "Encoding products",
    "words": "Indexing words",
    "columns": "Indexing columns",
    "measure": "Finding exact answers",
    "index": "Indexing candidates",
    "calibrate": "Measuring recall",
    "clicks": "Indexing clicks",
    "fuse": "Learning the fusion",
}


def reindex(
    model: Annotated[Path, typer.Option(help="Encoder bundle, as `saddle train` writes it.")],
    catalog: Annotated[Path, typer.Option(help="Catalogue: CSV, JSONL or Parquet.")],
    out: Annotated[Path, typer.Option(help="Index root to publish in; made if it does not exist.")],
    target_recall: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Recall of the exact top 100 that candidates must reach.")
    ] = 0.98,
    backend: Annotated[
        Choice,
        typer.Option(help="Candidate index; auto tries the likely ones and keeps the fastest that reaches the recall."),
    ] = "auto",
    queries: Annotated[
        Path | None,
        typer.Option(help="Queries to measure recall on, one a line; by default judged ones, or cut from titles."),
    ] = None,
    judgments: Annotated[
        Path | None,
        typer.Option(help="Judged pairs to learn the fusion of the channels on; by default ranks are fused."),
    ] = None,
    behaviour: Annotated[
        Path | None,
        typer.Option(help="Behaviour bundle of `saddle train --channel behaviour`, to add its channel."),
    ] = None,
    interactions: Annotated[
        Path | None, typer.Option(help="Clicks to learn a behaviour channel from first, in place of --behaviour.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.05, help="Time to learn from --interactions, at most.")] = MINUTES,
    all_queries: Annotated[
        bool,
        typer.Option("--all-queries", help="Learn from test queries too: to serve with, not to measure with."),
    ] = False,
    keep_clicks: Annotated[
        bool,
        typer.Option(
            "--keep-clicks",
            help="If --interactions are refused, index all the same, with the clicks that the snapshot before knows.",
        ),
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(help="Image bundle of `saddle train --channel image`, to add a channel of pictures."),
    ] = None,
    image_root: Annotated[
        Path | None,
        typer.Option(help="Folder below which the catalogue's images are; not for those it holds.", file_okay=False),
    ] = None,
    max_reject_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of bad rows above which nothing is published.")
    ] = 0.05,
    rejects: Annotated[
        Path | None,
        typer.Option(
            help="File to list bad rows in; by default rejects.jsonl in --out. What of --interactions was left out is "
            "listed beside it, in rejects-interactions.jsonl."
        ),
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(help="When the catalogue was true, local time; by default when its file was written."),
    ] = None,
    allow_foreign: Annotated[
        bool, typer.Option("--allow-foreign", help="Accept a model that knows few of the catalogue's words.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="Where the encoder runs: cpu, cuda or cuda:N.", envvar="SADDLE_DEVICE")
    ] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Encode a catalogue, index it and make it the current snapshot.

    The snapshot before goes on serving until the new one is complete;
    a running service then picks the new one up by itself. Live changes
    that are newer than the catalogue are folded in; newer ones live on. Of the judged
    queries only the dev split is used, so a test on the others stays fair.

    With --interactions, what shoppers clicked is learnt first: the one command
    to run every night.

    Examples:
      saddle reindex --model var/model --catalog shop.csv --out var/index
      saddle reindex --model M --catalog C --out I --judgments judgments.csv
      saddle reindex --model M --catalog C --out I --queries top-queries.txt
      saddle reindex --model M --catalog C --out I --as-of 2026-11-21T03:00:00
      saddle reindex --model M --catalog C --out I --behaviour var/behaviour
      saddle reindex --model M --catalog C --out I --interactions clicks.csv --all-queries --keep-clicks
      saddle reindex --model M --catalog C --out I --images var/image --image-root photos
    """
    from index.build import build
    from index.device import Device

    if behaviour is not None and interactions is not None:
        raise CommandError("--behaviour is a channel learnt before and --interactions teach a new one: give either")
    alone = [name for name, given in (("--all-queries", all_queries), ("--keep-clicks", keep_clicks)) if given]
    if alone and interactions is None:
        raise CommandError(f"give --interactions too, or leave out {' and '.join(alone)}")
    if image_root is not None and images is None:
        raise CommandError("--image-root means nothing without --images")
    rejects_path, refused = rejects or out / "rejects.jsonl", None
    with ExitStack() as stack:
        if interactions is not None:
            asked = Nightly(
                model=model,
                catalog=catalog,
                interactions=interactions,
                root=out,
                minutes=minutes,
                all_queries=all_queries,
                max_reject_share=max_reject_share,
                rejects=rejects_path.with_stem(f"{rejects_path.stem}-interactions"),
                keep=keep_clicks,
            )
            behaviour, refused = stack.enter_context(clicks(asked))
        on_progress = stack.enter_context(_progress())
        report = build(
            bundle_dir=model,
            catalog=catalog,
            root=out,
            target_recall=target_recall,
            backend=backend,
            max_reject_share=max_reject_share,
            rejects_path=rejects_path,
            queries=_lines(queries) if queries else None,
            judgments=judgments,
            behaviour=behaviour,
            images=images,
            image_root=image_root,
            allow_foreign=allow_foreign,
            as_of=None if as_of is None else as_of.timestamp(),
            device=Device.parse(device),
            on_progress=on_progress,
        )
    if as_json:
        _print_json(report, refused)
    else:
        _print_report(report, rejects_path)


@contextmanager
def _progress() -> Iterator[Callable[[Stage, int, int | None], None]]:
    """Bars on stderr, one a stage, that appear as the stages begin."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[Stage, TaskID] = {}

        def show(stage: Stage, done: int, total: int | None) -> None:
            for earlier in tasks.keys() - {stage}:
                progress.stop_task(tasks[earlier])
            if stage not in tasks:
                tasks[stage] = progress.add_task(_LABELS[stage], total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield show


def _lines(path: Path) -> list[str]:
    """The lines of a file that have something on them."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise CommandError(f"{path} holds no queries: it should have one on each line")
    return lines


def _print_json(report: BuildReport, refused: str | None) -> None:
    import orjson

    document = {
        **asdict(report),
        "candidates": report.candidates.model_dump(),
        "fusion": report.fusion.model_dump(),
        "products_per_second": report.products_per_second,
        "meets_target": report.meets_target,
        "interactions_refused": refused,
    }
    typer.echo(orjson.dumps(document, default=str, option=orjson.OPT_INDENT_2))


def _how_fused(fusion: Fusion, *, behaviour: bool) -> str:
    if fusion.method == "reciprocal_rank" and fusion.queries:
        return f"reciprocal rank: {fusion.queries:,} dev queries do not suffice to learn weights"
    if fusion.method == "reciprocal_rank":
        return "reciprocal rank; --judgments would teach it weights"
    clicks = f" + {fusion.behaviour_weight:.3g} (of new queries {fusion.unasked_weight:.3g}) · clicks"
    return (
        f"{fusion.lexical_weight:.3g} · BM25 − {fusion.distance_weight:.3g} · distance{clicks if behaviour else ''}, "
        f"learnt on {fusion.queries:,} dev queries"
        + (", some of which the text encoder was trained on: it weighs more than it should" * fusion.optimistic)
    )


def _pictured(census: PictureCensus) -> dict[str, str]:
    told = {"pictures": f"{census.read:,}" + (f"; {census.without:,} products have none" if census.without else "")}
    told |= {f"  {reason}": f"{count:,}" for reason, count in census.unreadable.items()}
    if census.examples:
        told["  such as"] = census.examples[0]
    return told


def _tried(trial: Trial) -> str:
    return f"recall {trial.recall:.4f} of {trial.count:,} in {1e3 * trial.latency_seconds:.2f} ms"


def _print_report(report: BuildReport, rejects_path: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    found = report.candidates
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items())
    rows = {
        "snapshot": report.snapshot,
        "model": report.model,
        "products": f"{report.products:,}",
        **({"clicks": f"{report.behaviour} knows {report.clicked:,} of them"} if report.behaviour else {}),
        **({} if report.pictures is None else _pictured(report.pictures)),
        **({"live changes": f"{report.folded:,} newer than the catalogue, folded in"} if report.folded else {}),
        "rejected rows": f"{report.rejects:,}" + (f", listed in {rejects_path}" if report.rejects else ""),
        **{f"  {reason}": f"{count:,}" for reason, count in report.reasons.items()},
        "time": f"{report.total_seconds:.1f} s ({stages})",
        "speed": f"{report.products_per_second:,.0f} products/s",
        "candidates": f"{found.count:,} by {found.shape}" + (f", effort {found.effort:g}" if found.effort else ""),
        **{f"  {trial.shape}": _tried(trial) for trial in found.tried if len(found.tried) > 1},
        "latency": f"{1e3 * found.latency_seconds:.2f} ms a query for candidates and exact order",
        f"recall@{found.depth}": f"{found.recall:.4f} of the exact containment top, {found.queries} queries",
        "fusion": _how_fused(report.fusion, behaviour=report.behaviour is not None),
        **{
            f"  {channel}": "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
            for channel, metrics in report.fusion.metrics.items()
        },
    }
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, value)
    Console(markup=False).print(table)
    if not report.meets_target:
        Console(stderr=True).print(
            f"[bold red]Recall {found.recall:.4f} misses the target of {found.target_recall}[/]: published "
            "all the same, with the best settings there are. Try --backend flat, or a model with smaller "
            "regions: candidates are the products nearest to a query's centre."
        )
