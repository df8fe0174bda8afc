from __future__ import annotations

import os
import time

from fakes import shop_titles, write_bundle, write_catalog

from benchmarks.survival import Survival
from index.build import build


def test_what_was_acknowledged_outlives_a_kill_and_nothing_else_does(tmp_path):
    """A few rounds of what ``make soak`` does two hundred times."""
    titles = shop_titles(200)
    write_bundle(tmp_path / "model", titles)
    catalog = write_catalog(tmp_path / "catalog.csv", titles)
    os.utime(catalog, (time.time() - 3600, time.time() - 3600))
    for _ in range(2):  # so that there is one to go back to
        build(bundle_dir=tmp_path / "model", catalog=catalog, root=tmp_path / "index", threads=1)
    survival = Survival(tmp_path / "index", model=tmp_path / "model", catalog=catalog, seed=3)
    counts = survival.run(4)
    assert counts["acknowledged"] > 20
    assert counts["activations"] > 0
