"""What a searcher can be asked: the searches that may be answered together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from index.refinement import NOTHING, Refinement

if TYPE_CHECKING:
    from index.expression import Expression
    from index.results import TextMode

MAX_DEPTH = 10_000
"""The deepest a page may reach: ``offset + limit``."""


class ModeError(ValueError):
    """A search that asks a channel which the snapshot does not have; ``part`` of the search says so."""

    def __init__(self, message: str, *, part: Literal["mode", "image"]) -> None:
        super().__init__(message)
        self.part = part


@dataclass(frozen=True, slots=True)
class Search:
    """The ``limit`` products after the first ``offset`` that answer ``query``; a text is taken literally."""

    query: str | Expression
    mode: TextMode = "hybrid"
    limit: int = 10
    offset: int = 0
    refinement: Refinement = NOTHING


@dataclass(frozen=True, slots=True)
class Similar:
    """The ``limit`` products after the first ``offset`` that are nearest to ``product_id``, itself left out."""

    product_id: str
    limit: int = 10
    offset: int = 0
    refinement: Refinement = NOTHING


@dataclass(frozen=True, slots=True)
class ByPicture:
    """The ``limit`` products after the first ``offset`` whose pictures are most like ``picture``, a file's bytes.

    With a ``query`` they answer that too.
    """

    picture: bytes
    query: str | Expression | None = None
    limit: int = 10
    offset: int = 0
    refinement: Refinement = NOTHING


Asked = Search | Similar | ByPicture


def page_of(asked: Asked) -> slice:
    """Which of all hits are asked for.

    Raises:
        ValueError: ``limit < 1``, ``offset < 0`` or ``limit + offset > MAX_DEPTH``.
    """
    limit, offset = asked.limit, asked.offset
    if limit < 1 or offset < 0 or limit + offset > MAX_DEPTH:
        raise ValueError(
            f"limit is {limit} and offset {offset}: limit must be at least 1, offset at least 0, and "
            f"their sum at most {MAX_DEPTH:,}"
        )
    return slice(offset, offset + limit)
