"""Shapes: which kinds of candidate index there are, and which of them may suit a catalogue."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Backend = Literal["flat", "codes", "cells", "hnsw"]
"""What an index looks at: all vectors, all codes, the codes of some cells, or a graph."""
Form = Literal["centre", "region", "inner"]
"""Whether candidates are ordered by the distance to the centre alone, by what the limit makes of it, or, where vectors
are no points, by their plain inner product with it."""
INDEX = "index.faiss"
"""The file that every candidate index has, in a directory of its own."""
Choice = Literal["auto", "all", "flat", "codes", "cells", "hnsw"]
"""A backend, or a choice among the likely ones, or among all."""

_FLAT_UP_TO = 100_000
_CODES_FROM, _CODES_UP_TO = 5_000, 2_000_000
_CELLS_FROM = 50_000


class Shape(NamedTuple):
    """A kind of index over vectors of one form."""

    backend: Backend
    form: Form = "centre"

    def __str__(self) -> str:
        return f"{self.backend}, region-aware" if self.form == "region" else self.backend


def contenders(choice: Choice, products: int, *, lifted: bool) -> list[Shape]:
    """The shapes to try for a catalogue of this size, one at least; region-aware ones too if ``lifted``.

    A graph is tried on demand only: it takes four minutes a million products to build, and nowhere was it the fastest.
    """
    likely = {
        "flat": products <= _FLAT_UP_TO,
        "codes": _CODES_FROM <= products <= _CODES_UP_TO,
        "cells": products >= _CELLS_FROM,
        "hnsw": False,
    }
    forms: tuple[Form, ...] = ("centre", "region") if lifted else ("centre",)
    backends = [
        backend for backend in get_args(Backend) if choice in ("all", backend) or (choice == "auto" and likely[backend])
    ]
    return [Shape(backend, form) for backend in backends for form in forms]
