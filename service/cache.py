"""Answers kept for those who ask the same again."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from index.asked import Asked
    from index.results import SearchResult

_LARGEST = 10
"""No answer may take more than this part of the room."""


class Version(NamedTuple):
    """What answers are found in: a snapshot, and the number of the last change that its searches see."""

    snapshot: str
    shown: int


class AnswerCache:
    """The answers given last, as many as have ``most`` hits together, none if that is 0; to be used from one thread.

    Only answers of one version are kept: a change or another snapshot leaves none of those before.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._version: Version | None = None
        self._kept: OrderedDict[Asked, SearchResult] = OrderedDict()
        self._size = 0

    @property
    def off(self) -> bool:
        """Whether nothing is ever kept."""
        return not self._most

    def get(self, version: Version, asked: Asked) -> SearchResult | None:
        """The answer to ``asked`` in this version, if it is kept."""
        if version != self._version:
            self._version = version
            self._kept.clear()
            self._size = 0
            return None
        found = self._kept.get(asked)
        if found is not None:
            self._kept.move_to_end(asked)
        return found

    def put(self, version: Version, asked: Asked, answer: SearchResult) -> None:
        """Keep an answer that is of ``version`` or later; not if that is no longer the version asked for last."""
        size = _size(answer)
        if version != self._version or asked in self._kept or size * _LARGEST > self._most:
            return
        self._kept[asked] = answer
        self._size += size
        while self._size > self._most:
            self._size -= _size(self._kept.popitem(last=False)[1])


def _size(answer: SearchResult) -> int:
    """Room for an answer's hits, and as much as one for what is around them."""
    return len(answer.hits) + 1
