"""Lets schemathesis send lines of JSON."""

from __future__ import annotations

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """Texts as they are, and everything else as one line."""
    return value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
