"""Containment compiled: distances of chosen rows to a box, one pass over each row and no copy of it.

NumPy's way of the same makes a dozen arrays of the rows' size and takes several times as long. Compiled once and kept
beside this file, in the user's cache or in NUMBA_CACHE_DIR; the interpreter's lock is not held meanwhile.
"""

from __future__ import annotations

from math import log1p, sqrt
from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

_CACHE_LINE = 16
"""Coordinates in one."""
_FETCHED = 8
"""Rows that are asked of memory at once."""
_BLOCK = 4096
_AXES_A_LOOK = 4
_FEW = 64
"""With a 64th of a block left it is cheaper to compare these one by one than the block on more axes."""

_Function = TypeVar("_Function", bound="Callable[..., Any]")


def _compiled(**options: Any) -> Callable[[_Function], _Function]:
    """Compile a function when it is first called, and keep the result for other processes where there is a place."""

    def decorated(function: _Function) -> _Function:
        try:
            kept: _Function = numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # nothing can be written, neither here nor in the user's cache
            fresh: _Function = numba.njit(nogil=True, **options)(function)
            return fresh
        return kept

    return decorated


def containment(
    points: Vector, rows: NDArray[np.int64], lo: Vector, hi: Vector, centre: Vector, c: float, gamma: float
) -> tuple[Vector, NDArray[np.bool_]]:
    """Containment distances (K) of ``rows`` (K) of ``points`` (N, d), and which of them lie inside (K).

    With p the point clamped to the box, and the difference of time components taken as
    x₀ − p₀ = (x − p)·(x + p)/(x₀ + p₀), see :func:`model.lorentz.dist`; at c = 0 distances are Euclidean.
    """
    distances, inside, _ = _containment(points, rows, lo, hi, centre, c, gamma)
    return distances, inside


@_compiled(fastmath={"reassoc", "contract", "nsz"})
def _containment(
    points: Vector, rows: NDArray[np.int64], lo: Vector, hi: Vector, centre: Vector, c: float, gamma: float
) -> tuple[Vector, NDArray[np.bool_], float]:
    """Those of :func:`containment`, and a number that means nothing.

    It is the sum of one coordinate of every cache line. Taken of a few rows before these are measured, it has memory
    answer for all of them at once, where measuring would wait for one after the other. Left out of what is returned, it
    would be optimised away.
    """
    distances = np.empty(len(rows), dtype=np.float32)
    inside = np.empty(len(rows), dtype=np.bool_)
    fetched: float = np.float32(0.0)  # type: ignore[assignment]  # compiled, it is one of 32 bits
    square_m: float = np.float32(0.0)  # type: ignore[assignment]
    for i in range(len(centre)):
        square_m += centre[i] * centre[i]
    for k in range(len(rows)):
        if k % _FETCHED == 0:
            for row in rows[k : k + _FETCHED]:
                for i in range(0, len(centre), _CACHE_LINE):
                    fetched += points[row, i]
        x = points[rows[k]]
        out: float = np.float32(0.0)  # type: ignore[assignment]
        cross_out = square_x = into = cross_into = square_p = out
        for i in range(len(centre)):
            p = min(max(x[i], lo[i]), hi[i])
            away, inward = x[i] - p, p - centre[i]
            out += away * away
            cross_out += away * (x[i] + p)
            square_x += x[i] * x[i]
            into += inward * inward
            cross_into += inward * (p + centre[i])
            square_p += p * p
        distances[k] = _dist(out, cross_out, square_x, square_p, c) + gamma * _dist(
            into, cross_into, square_p, square_m, c
        )
        inside[k] = out == 0.0
    return distances, inside, fetched


@_compiled(fastmath={"reassoc", "contract", "nsz"})
def within(points: Vector, rows: NDArray[np.int64], lo: Vector, hi: Vector) -> NDArray[np.bool_]:
    """Which of ``rows`` (K) of ``points`` (N, d) lie between ``lo`` and ``hi`` on all axes, faces included."""
    inside = np.empty(len(rows), dtype=np.bool_)
    for k in range(len(rows)):
        x = points[rows[k]]
        out: float = np.float32(0.0)  # type: ignore[assignment]
        # a sum over all axes is taken in registers, and sooner than a look at one after the other
        for i in range(len(lo)):
            out += abs(x[i] - min(max(x[i], lo[i]), hi[i]))
        inside[k] = out == 0.0
    return inside


@_compiled()
def sifted(
    steps: NDArray[np.uint8], axes: NDArray[np.int64], lo: NDArray[np.uint8], hi: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Columns of ``steps`` (d, N) whose values may all lie between ``lo`` (d) and ``hi`` (d), in order.

    The ``axes`` are tried in order, a few at a time on a block of columns, until next to none of the block is left; so
    those that are left have passed some axes, and no other column has passed all.
    """
    size = steps.shape[1]
    rows = np.empty(size, dtype=np.int64)
    left = np.empty(_BLOCK, dtype=np.uint8)
    found = 0
    for start in range(0, size, _BLOCK):
        length = min(_BLOCK, size - start)
        left[:] = 1
        count, tried = length, 0
        while tried < len(axes) and count > _BLOCK // _FEW:
            for axis in axes[tried : tried + _AXES_A_LOOK]:
                least, most = lo[axis], hi[axis]
                column = steps[axis, start : start + length]
                for i in range(length):
                    left[i] &= (column[i] >= least) & (column[i] <= most)
            tried += _AXES_A_LOOK
            count = 0
            for i in range(length):
                count += left[i]
        for i in range(length if count else 0):
            if left[i]:
                rows[found] = start + i
                found += 1
    return rows[:found]


@_compiled()
def _dist(square: float, cross: float, square_x: float, square_y: float, c: float) -> float:
    """The distance of x and y from ‖x − y‖², (x − y)·(x + y), ‖x‖² and ‖y‖²."""
    if c == 0.0:
        return sqrt(square)
    times = sqrt(1.0 / c + square_x) + sqrt(1.0 / c + square_y)
    u = max(0.5 * c * (square - (cross / times) ** 2), 0.0)
    # arccosh(1 + u), without losing a small u
    return log1p(u + sqrt(u * (u + 2.0))) / sqrt(c)
