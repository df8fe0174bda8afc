"""The bar that people watch while something is trained."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from model.training.progress import Progress, Stage

_LABELS: dict[Stage, str] = {"pretraining": "Pre-training", "training": "Training"}


@contextmanager
def training_bar() -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr with the loss, and a line for every dev evaluation."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("step {task.fields[step]}  loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Training", total=1.0, step=0, loss=float("nan"))

        def show(progress: Progress) -> None:
            label = _LABELS[progress.stage]
            bar.update(task, description=label, completed=progress.fraction, step=progress.step, loss=progress.loss)
            if progress.metrics is not None:
                shown = "  ".join(f"{name} {value:.3f}" for name, value in progress.metrics.items())
                bar.console.print(f"step {progress.step:>6}  dev  {shown}", markup=False, highlight=False)

        yield show
