"""Print what a ``pyproject.toml`` here asks for: the extras that are named, or the dependencies where none is."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = [line for extra in sys.argv[1:] for line in project["optional-dependencies"][extra]]
sys.stdout.writelines(f"{line}\n" for line in (extras if sys.argv[1:] else project["dependencies"]))
