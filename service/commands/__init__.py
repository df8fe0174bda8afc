"""The commands of ``saddle``, one a file, each a plain function; ``service.cli`` gives them their names."""

from __future__ import annotations


class CommandError(Exception):
    """Why a command cannot go on, in one line for the person who called it."""
