"""Where a caller wrote something: errors about a query or a filter say at which character or JSON pointer."""

from __future__ import annotations

Place = int | str | None
"""An offset into a text, a JSON pointer (RFC 6901), or None if nowhere."""


class MisplacedError(ValueError):
    """Something a caller wrote that cannot be used; ``message`` says what it does wrong, ``place`` where."""

    what = "the text"

    def __init__(self, message: str, place: Place = None) -> None:
        where = {int: f" at character {place}", str: f" at {place or '/'}"}.get(type(place), "")
        super().__init__(f"{self.what}{where} {message}")
        self.message = _sayable(message)
        self.place = _sayable(place) if isinstance(place, str) else place

    @property
    def position(self) -> int | None:
        """The offset of the offending character, if it was a text."""
        return self.place if isinstance(self.place, int) else None

    @property
    def pointer(self) -> str | None:
        """The JSON pointer to the offending part, if it was JSON."""
        return self.place if isinstance(self.place, str) else None


def _sayable(text: str) -> str:
    """``text`` with halves of characters, which no encoding takes, written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def described(value: object) -> str:
    """A value in the words of JSON; not its text, which may be of any length."""
    if isinstance(value, dict):
        return f"an object with {len(value)} keys" if len(value) != 1 else "an object with another key"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "a string"}.get(
        type(value), type(value).__name__
    )
