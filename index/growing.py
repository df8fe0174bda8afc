"""Arrays that grow at their end: what is in them never moves or changes place for whoever took a view of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

_Number = TypeVar("_Number", bound=np.generic)
_FIRST = 64


class Growing(Generic[_Number]):
    """A NumPy array with room at its end; one thread adds, any number of threads read views taken before.

    Room is doubled by copying, so a view goes on showing what it showed, whatever is added after.
    """

    def __init__(self, dtype: DTypeLike, *shape: int) -> None:
        self._array: NDArray[_Number] = np.empty((_FIRST, *shape), dtype=dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, values: ArrayLike) -> None:
        """Add ``values`` (n, …)."""
        added = np.asarray(values, dtype=self._array.dtype).reshape(-1, *self._array.shape[1:])
        count = self._count + len(added)
        if count > len(self._array):
            grown = np.empty((max(count, 2 * len(self._array)), *self._array.shape[1:]), dtype=self._array.dtype)
            grown[: self._count] = self._array[: self._count]
            self._array = grown
        self._array[self._count : count] = added
        self._count = count

    @property
    def view(self) -> NDArray[_Number]:
        """All there is by now; writing to it changes what is there, not what older views of less room show."""
        return self._array[: self._count]
