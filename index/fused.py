"""The exact scan of all points on a GPU as one kernel: each point is read once, and nothing of its size is written.

Points lie in *tiles* (T, d, R) of R rows each, axis by axis, so that neighbouring threads read neighbouring numbers and
each keeps the sums of its own rows: nothing is exchanged between them. A program measures one tile against every box of
a region, and writes one distance a row and the least of its tile. The ``count`` nearest rows lie in the ``count`` tiles
of the smallest minima: that many rows are no farther than the last of those minima, and whatever is nearer lies in a
tile whose minimum is, too. So the top is sought among few tiles.

What is compiled has no annotations but ``tl.constexpr``, as Triton reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

if TYPE_CHECKING:
    from index.boxes import Boxes

_WARPS = 2
"""A thread has four rows of a tile of 256, which it reads at once."""


def nearest(
    tiles: torch.Tensor,
    size: int,
    boxes: Boxes,
    count: int,
    *,
    c: float,
    gamma: float,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """The ``count`` ≥ 1 of the first ``size`` rows in ``tiles`` nearest to ``boxes`` by containment, nearest first.

    ``mask`` (size) bool lets rows pass, at least ``count`` of them. All tensors lie on one device, without gaps.
    """
    number, dim, rows = tiles.shape
    distances, minima = tiles.new_empty((number, rows)), tiles.new_empty(number)
    with torch.cuda.device_of(tiles):  # Triton launches on the current one
        _measure[(number,)](
            tiles, mask, boxes.sides, boxes.excluded, boxes.reach, boxes.first, distances, minima,
            size, len(boxes.sides), c, gamma, dim=dim, rows=rows, flat=c == 0,
            num_warps=_WARPS, enable_fp_fusion=True,
        )  # fmt: skip
    best = torch.topk(minima, min(count, number), largest=False, sorted=False).indices
    places = torch.topk(distances[best].flatten(), count, largest=False).indices
    return best[places // rows] * rows + places % rows


# One kernel for whatever a region holds and wherever its parts begin: no search should wait for a compiler.
@triton.jit(
    do_not_specialize=["size", "boxes"],
    do_not_specialize_on_alignment=["mask", "sides", "excluded", "reach", "first"],
)
def _measure(
    tiles, mask, sides, excluded, reach, first, distances, minima, size, boxes, c, gamma,
    dim: tl.constexpr, rows: tl.constexpr, flat: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, rows)
    row = tile * rows + lane
    points = tiles + tile * (dim * rows) + lane
    least = tl.full((rows,), float("inf"), tl.float32)
    for b in range(boxes):
        distance = _containment(points, sides + b * (3 * dim), c, gamma, dim, rows, flat)
        owed = tl.zeros((rows,), tl.float32)
        for e in range(tl.load(first + b).to(tl.int32), tl.load(first + b + 1).to(tl.int32)):
            owed = tl.maximum(owed, _penalty(points, excluded + e * (3 * dim), tl.load(reach + e), dim, rows))
        least = tl.minimum(least, distance + owed)
    there = row < size
    if mask is not None:
        there = there & (tl.load(mask + row, mask=there, other=0) != 0)
    least = tl.where(there, least, float("inf"))
    tl.store(distances + row, least)
    tl.store(minima + tile, tl.min(least, axis=0))


@triton.jit
def _containment(points, side, c, gamma, dim: tl.constexpr, rows: tl.constexpr, flat: tl.constexpr):
    """Containment distances of a tile's rows to one box, see :func:`index.kernels.containment`."""
    out = tl.zeros((rows,), tl.float32)
    cross_out = tl.zeros((rows,), tl.float32)
    into = tl.zeros((rows,), tl.float32)
    cross_into = tl.zeros((rows,), tl.float32)
    square_x = tl.zeros((rows,), tl.float32)
    square_p = tl.zeros((rows,), tl.float32)
    square_m = 0.0
    for i in tl.range(0, dim, loop_unroll_factor=8):
        x = tl.load(points + i * rows)
        m = tl.load(side + 2 * dim + i)
        p = tl.minimum(tl.maximum(x, tl.load(side + i)), tl.load(side + dim + i))
        away = x - p
        inward = p - m
        out += away * away
        cross_out += away * (x + p)
        into += inward * inward
        cross_into += inward * (p + m)
        square_x += x * x
        square_p += p * p
        square_m += m * m
    return _dist(out, cross_out, square_x, square_p, c, flat) + gamma * _dist(
        into, cross_into, square_p, square_m, c, flat
    )


@triton.jit
def _penalty(points, side, reach, dim: tl.constexpr, rows: tl.constexpr):
    """What an excluded box adds to the distances of a tile's rows, see :meth:`index.algebra.Box.penalty`."""
    outside = tl.zeros((rows,), tl.int32)
    share = tl.zeros((rows,), tl.float32)
    for i in tl.range(0, dim, loop_unroll_factor=4):
        x = tl.load(points + i * rows)
        lo = tl.load(side + i)
        hi = tl.load(side + dim + i)
        outside += ((x < lo) | (x > hi)).to(tl.int32)
        limit = tl.maximum(0.5 * (hi - lo), 1.1754943508222875e-38)
        share = tl.maximum(share, tl.abs(x - tl.load(side + 2 * dim + i)) / limit)
    return tl.where(outside == 0, reach * (2.0 - tl.minimum(share, 1.0)), 0.0)


@triton.jit
def _dist(square, cross, square_x, square_y, c, flat: tl.constexpr):
    """The distance of x and y from ‖x − y‖², (x − y)·(x + y), ‖x‖² and ‖y‖², as in :mod:`index.kernels`."""
    if flat:
        return tl.sqrt(square)
    apart = cross / (tl.sqrt(1.0 / c + square_x) + tl.sqrt(1.0 / c + square_y))
    u = tl.maximum(0.5 * c * (square - apart * apart), 0.0)
    y = u + tl.sqrt(u * (u + 2.0))
    # log(1 + y) loses a small y, and a GPU's logarithm may be coarse near 1: a series there
    series = y * (1.0 - y * (1 / 2 - y * (1 / 3 - y * (1 / 4 - y * (1 / 5 - y * (1 / 6))))))
    return tl.where(y < 0.05, series, tl.log(1.0 + y)) / tl.sqrt(c)
