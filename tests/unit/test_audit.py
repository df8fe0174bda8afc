from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("audit", Path(__file__).parents[2] / "deploy" / "audit.py")
audit = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(audit)

CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
FLAWED = {"name": "jinja2", "version": "2.10", "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"]}]}
SKIPPED = {"name": "anyio", "skip_reason": "not found on PyPI"}
OWN = {"name": "saddle", "skip_reason": "editable"}


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([CLEAN, OWN], 0, "nothing is known against any of 1 packages"),
        ([CLEAN, FLAWED], 1, "jinja2 2.10 has PYSEC-2019-217, fixed in 2.10.1"),
        ([CLEAN, SKIPPED], 75, "could not ask about 1 of 2 packages"),
        ([FLAWED, SKIPPED], 1, "could not ask about 1 of 2 packages"),
    ],
)
def test_only_what_was_asked_about_and_is_clean_passes(packages, status, said):
    found, lines = audit.judged({"dependencies": packages})
    assert found == status
    assert said in "\n".join(lines)


def test_a_tool_that_writes_no_report_has_not_asked(tmp_path, capsys):
    tool = tmp_path / "pip-audit"
    tool.write_text("#!/bin/sh\necho 'ConnectionError: no route' >&2\nexit 1\n")
    tool.chmod(0o755)
    assert audit.main(str(tool), str(tmp_path)) == 75
    assert "could not ask the advisory service: ConnectionError: no route" in capsys.readouterr().err
