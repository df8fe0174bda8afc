"""Points that lie on a torch device and are measured there: a search sends a region and row numbers, no point.

Distances are those of :meth:`index.algebra.Region.measure`, in torch and for all rows at once. The snapshot's points
lie in tiles of ``ROWS`` rows, axis by axis, see :mod:`index.fused`. These two modules are all of the index that knows
torch, and are imported only if a GPU is asked for.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from index.boxes import Boxes
from model import lorentz

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from index.algebra import Region
    from index.candidates_gpu import GpuCandidates
    from index.selection import Selection

ROWS = 256
"""Rows of a tile."""
TILES = 256
"""Tiles that are filled, or measured without the kernel, at a time."""
_FIRST = 1024

log = logging.getLogger(__name__)


def check(number: int) -> None:
    """Refuse the number of a GPU that is not there.

    Raises:
        RuntimeError: torch finds no GPU, or fewer.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise RuntimeError(f"torch {torch.__version__} finds no CUDA device")
    if number >= count:
        raise RuntimeError(f"torch {torch.__version__} finds CUDA devices 0 to {count - 1}, not {number}")


class ResidentPoints:
    """The points of a snapshot (N, d) on the torch device ``place``, and those of live rows after them.

    Safe to use from several threads at once. Rows below N are the snapshot's. ``index`` finds candidates where a whole
    snapshot is searched, if it is set; the scan does otherwise.
    """

    def __init__(self, points: NDArray[np.float32], *, place: str, c: float, gamma: float) -> None:
        self._place = torch.device(place)
        self._c, self._gamma = c, gamma
        self._size, dim = len(points), points.shape[1]
        self._tiles = torch.zeros((-(-self._size // ROWS), dim, ROWS), device=self._place)
        for first in range(0, len(self._tiles), TILES):
            filled = self._tiles[first : first + TILES]
            block = np.zeros((len(filled) * ROWS, dim), dtype=np.float32)
            rows = points[first * ROWS : (first + len(filled)) * ROWS]
            block[: len(rows)] = rows
            filled[:] = self._moved(block).reshape(-1, ROWS, dim).transpose(1, 2)
        self._live = self._tiles.new_empty((0, dim))
        self._live_count = 0
        self._growing = threading.Lock()
        self._masks: WeakKeyDictionary[Selection, torch.Tensor] = WeakKeyDictionary()
        self._scan = self._compiled() if self._place.type == "cuda" else self._in_blocks
        self.index: GpuCandidates | None = None

    def __len__(self) -> int:
        return self._size

    @property
    def fused(self) -> bool:
        """Whether the scan is the fused kernel."""
        return self._scan != self._in_blocks

    @torch.inference_mode()
    def measure(
        self, region: Region, rows: NDArray[np.int64], live: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Containment distances (K) of ``rows`` (K) from ``region``, and which of them lie inside (K).

        ``live`` (L, d) are the points of all live rows by now. They must be those given before, and perhaps more.
        """
        if not len(rows):
            return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.bool_)
        added = self._followed(live)
        in_snapshot = rows < len(self)
        if in_snapshot.all():
            order: slice | NDArray[np.int64] = slice(None)
            x = self._gathered(self._moved(rows))
        else:
            order = np.argsort(~in_snapshot, kind="stable")
            ids = self._moved(rows[order])
            first = int(np.count_nonzero(in_snapshot))
            x = torch.cat((self._gathered(ids[:first]), added[ids[first:] - len(self)]))
        distances, inside = self._measured(x, region, self._boxes(region))
        both = torch.stack((distances, inside.to(torch.float32))).cpu().numpy()  # one copy of the two
        found = np.empty_like(both)
        found[:, order] = both
        return found[0], found[1] > 0

    @torch.inference_mode()
    def nearest(self, region: Region, count: int, selection: Selection | None = None) -> NDArray[np.int64]:
        """Up to ``count`` of the snapshot's rows, the nearest to ``region`` first; of those in ``selection``, if given.

        It is exact up to rounding, unless ``index`` is set and can answer.
        """
        if self.index is not None and selection is None and count <= self.index.most:
            found = [self.index.search(box, count) for box in region.boxes]
            return found[0] if len(found) == 1 else np.unique(np.concatenate(found))
        count = min(count, len(self) if selection is None else len(selection))
        if count == 0:
            return np.empty(0, dtype=np.int64)
        mask = None if selection is None else self._mask(selection)
        return np.asarray(self._scan(region, count, mask).cpu().numpy())

    def _moved(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.tensor(array, device=self._place)

    def _gathered(self, rows: torch.Tensor) -> torch.Tensor:
        """The points (K, d) of ``rows`` (K) of the snapshot."""
        return self._tiles[rows // ROWS, :, rows % ROWS]

    def _boxes(self, region: Region) -> Boxes:
        return Boxes.of(region, c=self._c, move=self._moved)

    def _mask(self, selection: Selection) -> torch.Tensor:
        """The mask of a selection, which is kept here for as long as the selection is anywhere."""
        mask = self._masks.get(selection)
        if mask is None:
            mask = self._masks[selection] = self._moved(selection.mask)
        return mask

    def _followed(self, points: NDArray[np.float32]) -> torch.Tensor:
        """Room that begins with ``points`` (L, d), those of live rows; what is new of them is copied."""
        with self._growing:
            if len(points) > len(self._live):
                grown = self._live.new_empty((max(_FIRST, len(points), 2 * len(self._live)), points.shape[1]))
                grown[: self._live_count] = self._live[: self._live_count]
                self._live = grown
            if len(points) > self._live_count:
                self._live[self._live_count : len(points)] = self._moved(points[self._live_count :])
                self._live_count = len(points)
            return self._live

    def _measured(self, x: torch.Tensor, region: Region, boxes: Boxes) -> tuple[torch.Tensor, torch.Tensor]:
        """Distances (K) of ``x`` (K, d) and whether any of the boxes contains them (K)."""
        nearest, contained = x.new_full((len(x),), torch.inf), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        start = 0
        for box, (lo, hi, centre) in zip(region.boxes, boxes.sides, strict=True):
            p = torch.clamp(x, lo, hi)
            distances = lorentz.dist(x, p, c=self._c) + self._gamma * lorentz.dist(centre, p, c=self._c)
            inside = (p == x).all(dim=1) if not box.empty else torch.zeros_like(contained)
            penalty = torch.zeros_like(nearest)
            for i in range(start, start + len(box.excluded)):
                held, owed = _penalised(x, boxes.excluded[i], boxes.reach[i])
                penalty, inside = torch.maximum(penalty, owed), inside & ~held
            start += len(box.excluded)
            nearest, contained = torch.minimum(nearest, distances + penalty), contained | inside
        return nearest, contained

    def _compiled(self) -> Callable[[Region, int, torch.Tensor | None], torch.Tensor]:
        """The scan by the fused kernel, tried once; or, with a warning, the one without, if it cannot be compiled."""

        def fused(region: Region, count: int, mask: torch.Tensor | None) -> torch.Tensor:
            return nearest(self._tiles, len(self), self._boxes(region), count, c=self._c, gamma=self._gamma, mask=mask)

        try:
            from index.fused import nearest

            tile = self._tiles[:1]
            point = self._gathered(torch.zeros(1, dtype=torch.int64, device=self._place))
            boxes = Boxes(torch.stack((point, point, point), dim=1), point[:0], point[:0, 0], point.new_zeros(2))
            for mask in (None, torch.ones(1, dtype=torch.bool, device=self._place)):
                nearest(tile, 1, boxes, 1, c=self._c, gamma=self._gamma, mask=mask)
        except Exception as error:  # noqa: BLE001 - whatever the compiler lacks, the scan without it is as exact
            log.warning("points on %s are scanned without the fused kernel, slower: %s", self._place, error)
            return self._in_blocks
        return fused

    def _in_blocks(self, region: Region, count: int, mask: torch.Tensor | None) -> torch.Tensor:
        """Rows (``count``) nearest to ``region``, of all that ``mask`` (N) lets pass."""
        boxes = self._boxes(region)
        blocks = (
            tiles.transpose(1, 2).reshape(-1, tiles.shape[1])
            for tiles in (self._tiles[first : first + TILES] for first in range(0, len(self._tiles), TILES))
        )
        distances = torch.cat([self._measured(x, region, boxes)[0] for x in blocks])[: len(self)]
        if mask is not None:
            distances = torch.where(mask, distances, torch.inf)
        return torch.topk(distances, count, largest=False).indices


def _penalised(x: torch.Tensor, box: torch.Tensor, reach: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of ``x`` (K, d) lie in an excluded ``box`` (3, d), and what each owes, see :class:`index.algebra.Box`."""
    lo, hi, centre = box
    held = ((x >= lo) & (x <= hi)).all(dim=1)
    limit = torch.clamp(0.5 * (hi - lo), min=torch.finfo(torch.float32).tiny)
    share = ((x - centre).abs() / limit).amax(dim=1).clamp(max=1.0)
    return held, torch.where(held, reach * (2.0 - share), 0.0)
