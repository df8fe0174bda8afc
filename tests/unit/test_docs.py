"""The documents quote what was measured, and name what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.tables import __main__ as tables

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(path for folder in ("docs", "clients", "deploy") for path in (ROOT / folder).rglob("*.md")),
    ]
)


@pytest.mark.parametrize("document", tables.DOCUMENTS, ids=lambda path: path.name)
def test_every_quoted_table_is_the_one_made_from_the_measurements(document):
    text = document.read_text(encoding="utf-8")
    assert "<!-- table " in text
    assert tables.filled(text) == text, "run `python -m benchmarks.tables`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document):
    links = re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing


def test_the_readme_names_only_commands_and_targets_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    from service.cli import app

    commands = {command.name for command in app.registered_commands}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bsaddle (train|[a-z]+) +(?:--|\")", text)) <= commands
    assert set(re.findall(r"`?make ([a-z]+)", text)) <= targets
