"""A few of the nonsensical requests of which `make soak` sends a hundred thousand."""

from __future__ import annotations

import json

from running import publisher

from benchmarks import fuzz


def test_nonsense_is_answered_and_never_with_a_5xx(tmp_path):
    root, publish = publisher(tmp_path)
    publish(200)
    fuzz.main(["--index", str(root), "--count", "800", "--out", str(tmp_path / "fuzz.json")])
    report = json.loads((tmp_path / "fuzz.json").read_bytes())
    assert report["failed"] == 0
    assert report["hits_afterwards"] == 10
    statuses = {status for found in report["statuses"].values() for status in found}
    assert {"200", "404", "405", "413", "415", "422"} <= statuses
