from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from service import cli
from service.commands import CommandError
from service.keys import KeyRing, KeysError


@pytest.fixture
def saddle(tmp_path):
    """Run ``saddle keys`` on a file of its own."""

    def run(*arguments, code=0):
        result = CliRunner().invoke(cli.app, ["keys", *arguments, "--keys", str(tmp_path / "keys.json")])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


def test_a_key_is_shown_once_and_then_only_what_it_may_do(saddle, tmp_path):
    made = saddle("create", "shop", "--scope", "search", "--rate", "20", "--days", "30")
    token = made.stdout.strip()
    assert KeyRing(tmp_path / "keys.json").find(token).burst == 20
    listed = saddle("list")
    assert token not in listed.output
    assert "shop" in listed.output
    assert "20, 20 at once" in listed.output
    (row,) = json.loads(saddle("list", "--json").stdout)
    assert (row["id"], row["scopes"], row["state"], row["rate"]) == ("shop", ["search"], "valid", 20)
    assert "sha256" not in row


def test_a_revoked_key_stays_in_the_list_as_revoked(saddle, tmp_path):
    token = saddle("create", "shop", "--scope", "search", "--scope", "write").stdout.strip()
    saddle("revoke", "shop")
    assert KeyRing(tmp_path / "keys.json").find(token) is None
    (row,) = json.loads(saddle("list", "--json").stdout)
    assert (row["state"], row["scopes"]) == ("revoked", ["search", "write"])


def test_what_cannot_be_done_is_said(saddle):
    with pytest.raises(CommandError, match="'all' is none of search, write, admin"):
        saddle("create", "shop", "--scope", "all")
    saddle("create", "shop", "--scope", "search")
    with pytest.raises(KeysError, match="already"):
        saddle("create", "shop", "--scope", "search")
    with pytest.raises(KeysError, match="no key 'other'"):
        saddle("revoke", "other")
    saddle("create", "shop2", code=2)  # without a scope it would open nothing
