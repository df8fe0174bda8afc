"""Selections: which rows pass a filter, kept for as long as the same filter is asked again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from index.columns import Columns
    from index.filters import Filter

_KEPT_BYTES = 32 << 20


@dataclass(frozen=True, eq=False)
class Selection:
    """The rows that may be hits: ``mask`` (N). Compared by identity, so that a device can keep what belongs to one."""

    mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The rows that pass, in order."""
        return np.flatnonzero(self.mask)

    def among(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of ``rows`` that pass."""
        return rows[self.mask[rows]]


class Selections:
    """What filters select from ``columns``; safe to use from several threads at once.

    The masks of the filters asked last are kept, as many as there is room for: a shop's filters are few.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._kept: OrderedDict[Filter, Selection] = OrderedDict()
        # a mask and, once they are asked for, its rows
        self._most = max(1, _KEPT_BYTES // (9 * max(1, len(columns))))
        self._lock = threading.Lock()

    def select(self, wanted: Filter) -> Selection:
        """The rows that pass ``wanted``, which must suit the columns (:func:`index.filters.check_types`)."""
        with self._lock:
            if wanted in self._kept:
                self._kept.move_to_end(wanted)
                return self._kept[wanted]
        selection = Selection(self._columns.passing(wanted))
        with self._lock:
            self._kept[wanted] = selection
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return selection
