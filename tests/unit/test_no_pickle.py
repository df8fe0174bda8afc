"""Nothing that is read is run: no module unpickles, and arrays of objects are refused."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from index.documents import IDS
from index.points import load_points

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for floor in ("model", "index", "service") for path in (ROOT / floor).rglob("*.py"))
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
UNSAFE_CALLS = {"torch.load", "np.fromregex", "yaml.load", "eval", "exec", "os.system", "os.popen"}
ARRAYS = {"np.load", "np.save", "numpy.load", "numpy.save", "bm25s.BM25.load"}


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_neither_unpickles_nor_runs_what_it_reads(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {name.partition(".")[0] for name in names} & UNSAFE_MODULES
    for name, call in calls(tree):
        assert name not in UNSAFE_CALLS
        if name in ARRAYS:
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert given.get("allow_pickle") == "False", f"{name} in line {call.lineno} does not say allow_pickle=False"


def test_the_walk_finds_the_loads_that_there_are():
    found = [name for path in SOURCES for name, _ in calls(ast.parse(path.read_text(encoding="utf-8")))]
    assert len([name for name in found if name in ARRAYS]) >= 5


class Trap:
    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def test_an_array_with_something_to_run_in_it_is_refused(tmp_path):
    array = np.array([[Trap()]], dtype=object)
    np.save(tmp_path / "points.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        load_points(tmp_path / "points.npy")
    assert IDS.endswith(".npy")
