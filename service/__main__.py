"""``python -m service`` is ``saddle``, for where the script is not on the path."""

from __future__ import annotations

from service.cli import main

main()
