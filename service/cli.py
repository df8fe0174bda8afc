"""``saddle``, the console script. Commands import what they need when they run, so ``--help`` is quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from service.commands import CommandError
from service.commands.demo import demo
from service.commands.evaluate import evaluate
from service.commands.explain import explain
from service.commands.keys import app as keys
from service.commands.openapi import openapi
from service.commands.reindex import reindex
from service.commands.sample import sample
from service.commands.search import search
from service.commands.serve import serve
from service.commands.similar import similar
from service.commands.snapshots import app as snapshots
from service.commands.train import train

# Modules and the errors they raise for something that the caller can mend. They are looked up only among what
# was imported: an error of another module cannot be on its way.
_EXPECTED = (
    ("model.catalog", "CatalogError"),
    ("model.bundle", "BundleError"),
    ("model.behaviour.bundle", "BehaviourBundleError"),
    ("model.runtime", "EmptyTextError"),
    ("model.export", "ParityError"),
    ("model.image.backbones", "BackboneError"),
    ("model.image.bundle", "ImageBundleError"),
    ("model.image.pictures", "PictureError"),
    ("model.training.image.examples", "NothingToLearnError"),
    ("model.training.checkpoint", "ResumeError"),
    ("index.asked", "ModeError"),
    ("index.device", "DeviceError"),
    ("index.documents", "UnknownProductError"),
    ("index.expression", "ExpressionError"),
    ("index.filters", "FilterError"),
    ("index.refinement", "RefinementError"),
    ("index.snapshot", "SnapshotError"),
    ("index.build", "BuildError"),
    ("index.familiarity", "UnfamiliarError"),
    ("index.picture_files", "NoPicturesError"),
    ("index.journal", "JournalError"),
    ("service.keys", "KeysError"),
)
_EXTRAS = {
    "faiss": "cpu",
    "onnxruntime": "cpu",
    "torch": "train",
    "onnx": "train",
    "onnxscript": "train",
    "safetensors": "train",
    "ir_measures": "train",
}

app = typer.Typer(
    name="saddle",
    help="Self-hosted product search with hyperboloid queries.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"saddle {version('saddle')}")
        raise typer.Exit


@app.callback()
def _saddle(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Self-hosted product search with hyperboloid queries."""


app.command("sample")(sample)
app.command("train")(train)
app.command("reindex")(reindex)
app.command("evaluate")(evaluate)
app.command("search")(search)
app.command("similar")(similar)
app.command("explain")(explain)
app.command("serve")(serve)
app.add_typer(snapshots, name="snapshots")
app.add_typer(keys, name="keys")
app.command("openapi")(openapi)
app.command("demo")(demo)


def main() -> None:
    """Run ``saddle``: exit with 0 when all went well, 1 when the run failed, 2 when it was called wrongly."""
    try:
        app()
    except CommandError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        _fail(f"this command needs {error.name}, which is not installed: pip install 'saddle[{extra}]'")
    except OSError as error:
        # a path that is missing, full or forbidden: the message names it
        _fail(str(error))
    except Exception as error:
        if not isinstance(error, _expected_errors()):
            raise
        _fail(str(error))


def _expected_errors() -> tuple[type[Exception], ...]:
    return tuple(getattr(sys.modules[module], name) for module, name in _EXPECTED if module in sys.modules)


def _fail(message: str) -> None:
    typer.echo(f"saddle: {' '.join(message.split())}", err=True)
    sys.exit(1)
