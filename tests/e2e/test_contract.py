"""The service does what its OpenAPI document says, and nothing that it does not: schemathesis, with every check on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from running import publisher, saddle_serve, wait_for_snapshot

from service.keys import create
from service.scopes import SCOPES

SETTINGS = Path(__file__).parent / "contract" / "schemathesis.toml"
HOOKS = Path(__file__).parent / "contract" / "lines.py"
PATIENCE = 300


def test_the_service_does_what_its_openapi_document_says(tmp_path):
    root, publish = publisher(tmp_path)
    publish(200)
    snapshot = publish(300)  # two, to roll back
    keys = tmp_path / "keys.json"
    key = create(keys, "all", scopes=SCOPES)
    with saddle_serve(root, "--keys", str(keys)) as (url, _, log):
        wait_for_snapshot(url, snapshot)
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("st"), "--config-file", SETTINGS, "run", f"{url}/openapi.json"),
                *("--header", f"Authorization: Bearer {key}", "--checks", "all", "--max-response-time", "10"),
                *("--max-examples", os.environ.get("SADDLE_TEST_CONTRACT", "15"), "--seed", "1"),
                *("--continue-on-failure", "--no-shrink", "--no-color"),
            ],
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    assert "Traceback" not in log.read_text()
