"""The runbook has a section for every alert, and what it tells to type is what there is to type."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from service.cli import app
from service.settings import Settings

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs" / "runbook.md"
TEXT = RUNBOOK.read_text(encoding="utf-8")
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = sorted({line.strip() for line in BLOCKS.splitlines() if re.match(r"\s*saddle ", line)})


def anchors(text):
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def alerts():
    """By name, the runbook's address of every alert."""
    found = {}
    for path in sorted((ROOT / "deploy" / "prometheus").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8")).get("groups", ()):
            found |= {rule["alert"]: rule["annotations"]["runbook_url"] for rule in group["rules"] if "alert" in rule}
    return found


def test_every_alert_has_its_section():
    found = alerts()
    if not found:
        pytest.skip("deploy/prometheus has no alerts yet")
    for alert, url in found.items():
        assert url == f"docs/runbook.md#{alert.lower()}"
    assert {alert.lower() for alert in found} - anchors(TEXT) == set()


def test_every_link_within_the_runbook_leads_to_a_section():
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors(TEXT)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_runbook_can_be_typed(line):
    _, *words = shlex.split(line, comments=True)
    command = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    required = ["--index", "var"] if any(one.name == "index" for one in command.params) else []
    command.make_context("saddle", [*words, *required])


def test_every_setting_that_is_named_is_one_of_the_service():
    names = {name.lower() for name in re.findall(r"\bSADDLE_([A-Z_]+)", TEXT)}
    assert names <= Settings.model_fields.keys()
