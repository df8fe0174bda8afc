"""What a catalogue or a shopper wrote, as a terminal may print it."""

from __future__ import annotations

from rich.text import Text

# Embeddings, overrides and isolates of the bidirectional algorithm: one that is not closed turns the rest of a line.
_TURNS = dict.fromkeys((*range(8234, 8239), *range(8294, 8298)))


def printable(text: str, style: str = "") -> Text:
    """The text without markup and without characters that would turn what stands beside it."""
    return Text(text.translate(_TURNS), style)
