"""Pictures of the result: what photographs find, and the tree that was learnt, as two PNG files.

``python -m benchmarks.image --bundles var/images --cells 'proxy-anchor-learnt-sphere-s0'`` makes a bundle to look at.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.image.data import Photographs, Task
from model import lorentz
from model.image.bundle import load_classes
from model.image.measure import nearest
from model.image.runtime import ImageEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from model.image.surface import Surface
    from model.image.tree import Tree
    from model.training.image.examples import Pictures

FOUND = 10
_RIM = 4
_RIGHT, _NEAR, _WRONG, _ASKED = (46, 140, 70), (222, 170, 40), (200, 50, 44), (90, 90, 96)


def contact_sheet(
    pictures: Pictures, points: NDArray[np.float32], queries: Sequence[int], surface: Surface
) -> Image.Image:
    """A row for each of ``queries``: itself, then the ten nearest others.

    Rims tell: green of its class, amber of its node on the level above, red neither.
    """
    found = nearest(points, surface, FOUND)
    _, height, width, _ = pictures.pixels.shape
    cell = width + 2 * _RIM, height + 2 * _RIM
    sheet = Image.new("RGB", ((1 + FOUND) * cell[0], len(queries) * cell[1]), (255, 255, 255))
    for line, query in enumerate(queries):
        for place, row in enumerate([query, *found[query].tolist()]):
            colour = _ASKED if place == 0 else _judged(pictures, query, row)
            corner = place * cell[0], line * cell[1]
            ImageDraw.Draw(sheet).rectangle((*corner, corner[0] + cell[0] - 2, corner[1] + cell[1] - 2), fill=colour)
            sheet.paste(Image.fromarray(pictures.pixels[row]), (corner[0] + _RIM - 1, corner[1] + _RIM - 1))
    return sheet


def projection(tree: Tree, proxies: NDArray[np.float32], surface: Surface) -> Figure:
    """The classes' proxies in the two directions in which they differ most, each tied to the mean of its node."""
    flat = lorentz.log_map0(proxies.astype(np.float64), c=surface.curvature)
    centred = flat - flat.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    places = centred @ axes[:2].T
    nodes = tree.nodes[0] if tree.levels > 1 else np.zeros(tree.classes, dtype=np.int64)
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9), layout="constrained")
    panel = figure.subplots()
    for node in np.unique(nodes):
        held = np.flatnonzero(nodes == node)
        middle, colour = places[held].mean(axis=0), colormaps["tab20"](int(node) % 20)
        for row in held:
            panel.plot(*zip(middle, places[row], strict=True), color=colour, linewidth=0.8)
            panel.annotate(tree.names[0][row].rpartition(" > ")[2], places[row], fontsize=6, color=colour)
        panel.scatter(*middle, color=[colour], s=18)
    panel.set_axis_off()
    return figure


def _judged(pictures: Pictures, query: int, row: int) -> tuple[int, int, int]:
    own, other = int(pictures.labels[query]), int(pictures.labels[row])
    if own == other:
        return _RIGHT
    levels = pictures.tree.nodes
    return _NEAR if len(levels) and levels[0][own] == levels[0][other] else _WRONG


def main(arguments: list[str] | None = None) -> None:
    """Draw both."""
    asked = _parser().parse_args(arguments)
    encoder = ImageEncoder(asked.bundle)
    task = Task(Photographs.read(asked.data / "fashion" / "products.parquet"), asked.stage)
    pictures = task.unseen if asked.unseen else task.seen
    points = encoder.encode(pictures.pixels)
    rows = np.random.default_rng(asked.seed).permutation(len(pictures))[: asked.queries].tolist()
    asked.out.mkdir(parents=True, exist_ok=True)
    contact_sheet(pictures, points, rows, encoder.manifest.surface).save(asked.out / "found.png")
    tree, proxies = load_classes(asked.bundle)
    projection(tree, proxies, encoder.manifest.surface).savefig(asked.out / "tree.png", dpi=130)
    print(f"{asked.out / 'found.png'} and {asked.out / 'tree.png'}, of {encoder.manifest.version}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.image.plates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with fashion/")
    parser.add_argument("--bundle", type=Path, required=True, help="an image bundle trained on it")
    parser.add_argument("--out", type=Path, required=True, help="folder to write found.png and tree.png to")
    parser.add_argument("--stage", choices=("tune", "test"), default="test", help="the stage it was trained in")
    parser.add_argument("--unseen", action="store_true", help="show article types that it was not trained on")
    parser.add_argument("--queries", type=int, default=12, help="how many rows")
    parser.add_argument("--seed", type=int, default=0, help="which photographs")
    return parser


if __name__ == "__main__":
    main()
