from __future__ import annotations

import errno
import importlib
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from index.build import BuildError
from index.snapshot import SnapshotError
from model.bundle import BundleError
from model.catalog import CatalogError
from service import cli
from service.commands import CommandError

COMMANDS = ("sample", "train", "reindex", "evaluate", "search", "similar", "explain", "serve", "openapi", "demo")


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_lists_every_command():
    result = CliRunner().invoke(cli.app, ["--help"])
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example_on_a_line_of_its_own(command):
    result = CliRunner().invoke(cli.app, [command, "--help"])
    assert result.exit_code == 0
    lines = [line.strip() for line in result.output.splitlines()]
    assert "Examples:" in lines
    assert lines[lines.index("Examples:") + 1].startswith(f"saddle {command}")


def test_the_version_is_the_distributions():
    result = CliRunner().invoke(cli.app, ["--version"])
    assert result.output.split()[0] == "saddle"
    assert result.output.split()[1][0].isdigit()


def test_without_arguments_it_shows_its_help_and_calls_that_wrong_usage():
    result = run()
    assert result.returncode == 2
    assert "Usage" in result.stdout + result.stderr


def test_help_needs_none_of_the_heavy_libraries():
    heavy = {"torch", "faiss", "onnxruntime", "onnx", "fastapi", "uvicorn", "pyarrow", "ir_measures"}
    code = f"import sys, service.cli; print(sorted({heavy!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_serving_imports_neither_torch_nor_onnx():
    code = "import sys, service.app; print(sorted({'torch', 'onnx', 'onnxscript'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["serve", "--port", "0"],
        ["search"],
        ["similar"],
        ["explain", "drill"],
        ["search", "x", "--mode", "both"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments):
    assert CliRunner().invoke(cli.app, arguments).exit_code == 2


def test_a_missing_index_is_one_line_and_exit_code_1(tmp_path):
    result = run("search", "drill", "--index", str(tmp_path))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("saddle: ")
    assert result.stderr.count("\n") == 1
    assert "saddle reindex" in result.stderr


def test_an_expression_that_cannot_be_read_is_one_line_with_its_character(tmp_path):
    result = run("search", "drill AND (saw", "--operators", "--index", str(tmp_path))
    assert result.returncode == 1
    assert result.stderr == "saddle: the query at character 10 opens a bracket that is never closed\n"


def test_serving_to_the_world_is_refused_with_what_to_do(tmp_path):
    result = run("serve", "--index", str(tmp_path), "--host", "0.0.0.0")
    assert result.returncode == 1
    assert result.stderr.startswith("saddle: SADDLE_HOST: ")
    assert "SADDLE_ALLOW_PUBLIC=true" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_setting_that_is_wrong_is_named(tmp_path):
    result = run("serve", "--index", str(tmp_path), "--log-level", "loud")
    assert result.returncode == 1
    assert "SADDLE_LOG_LEVEL" in result.stderr
    assert "'loud'" in result.stderr


@pytest.mark.parametrize("error_type", [CommandError, CatalogError, BundleError, SnapshotError, BuildError])
def test_an_expected_error_is_one_line_without_a_traceback(monkeypatch, capsys, error_type):
    def fail():
        raise error_type("first line\nsecond line")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "saddle: first line second line\n"


@pytest.mark.parametrize(("module", "name"), cli._EXPECTED)
def test_the_errors_that_the_command_line_expects_are_there(module, name):
    assert issubclass(getattr(importlib.import_module(module), name), Exception)


def test_an_operating_system_error_names_its_file(monkeypatch, capsys):
    def fail():
        raise OSError(errno.ENOSPC, "No space left on device", "/srv/index")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    assert "/srv/index" in capsys.readouterr().err


def test_a_missing_extra_says_what_to_install(monkeypatch, capsys):
    def fail():
        raise ModuleNotFoundError("No module named 'torch'", name="torch.nn")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    assert "pip install 'saddle[train]'" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ModuleNotFoundError("x", name="sadle"), TypeError("x")])
def test_a_fault_of_the_program_itself_is_not_hidden(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(type(error)):
        cli.main()
