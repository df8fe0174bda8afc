"""``saddle evaluate``: metrics of the current snapshot on judged queries."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from index.evaluate import Evaluation
    from model.catalog import Judgment

Split = Literal["train", "dev", "test", "all"]


def evaluate(
    index: Annotated[Path, typer.Option(help="Index root, where `saddle reindex` publishes.", envvar="SADDLE_INDEX")],
    judgments: Annotated[Path, typer.Option(help="Judged pairs: query, product_id, relevance from 1 to 3.")],
    split: Annotated[Split, typer.Option(help="Which queries, by their hash; tune on dev, report on test.")] = "test",
    protocol: Annotated[
        Literal["retrieve", "rank", "both"],
        typer.Option(help="retrieve: the whole catalogue; rank: only the judged products, put in order."),
    ] = "both",
    mode: Annotated[
        Literal["hybrid", "hyperboloid", "lexical", "behaviour"],
        typer.Option(help="What finds and orders the products: the hyperboloid, BM25, clicks, or all that there is."),
    ] = "hybrid",
    device: Annotated[
        str, typer.Option(help="Where points lie and encoders run: cpu, cuda or cuda:N.", envvar="SADDLE_DEVICE")
    ] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Measure the current snapshot on judged queries.

    Averages run over all judged queries of the split, so one without
    a relevant product counts as zero.

    Examples:
      saddle evaluate --index var/index --judgments judgments.csv
      saddle evaluate --index I --judgments J --split dev --protocol retrieve
      saddle evaluate --index I --judgments J --mode hyperboloid
    """
    from rich.console import Console
    from rich.progress import Progress

    from index.changes import opened
    from index.device import Device
    from index.evaluate import PROTOCOLS
    from index.evaluate import evaluate as measure

    judged, rejected = _read(judgments, split)
    with opened(index, device=Device.parse(device)) as searcher, Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("Evaluating queries", total=None)
        found = measure(
            searcher,
            judged,
            protocols=PROTOCOLS if protocol == "both" else (protocol,),
            mode=mode,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        _print_json(found, split, rejected)
    else:
        _print_tables(found, split, rejected)


def _read(path: Path, split: Split) -> tuple[list[Judgment], int]:
    """The judgments of one split, and how many rows of the whole file could not be used."""
    from model.catalog import Rejects, read_judgments, split_of
    from service.commands import CommandError

    rejects = Rejects()
    every = list(read_judgments(path, rejects))
    kept = [judgment for judgment in every if split in ("all", split_of(judgment.query))]
    if not kept:
        raise CommandError(
            f"{path} has {len(every):,} usable judgments, but none in the split {split!r}; try --split all"
        )
    return kept, rejects.count


def _print_json(found: Evaluation, split: Split, rejected: int) -> None:
    import orjson

    document = {**asdict(found), "split": split, "rejected_rows": rejected}
    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _print_tables(found: Evaluation, split: Split, rejected: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for protocol, metrics in found.metrics.items():
        table = Table(title=protocol, title_justify="left", box=None, pad_edge=False)
        for name in metrics:
            table.add_column(name, justify="right")
        table.add_row(*(f"{value:.4f}" for value in metrics.values()))
        console.print(table, "")
    console.print(
        f"{found.mode} · {found.queries:,} queries ({split}) · {found.judgments:,} judgments, {found.absent:,} of them "
        f"on absent products · {rejected:,} rows rejected · snapshot {found.snapshot} · model {found.model}",
        style="dim",
        highlight=False,
    )
