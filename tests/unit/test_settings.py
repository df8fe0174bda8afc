from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from index.device import Device
from service import app
from service.settings import Settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("SADDLE_")]:
        monkeypatch.delenv(name)


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SADDLE_INDEX", "/srv/index")
    monkeypatch.setenv("SADDLE_PORT", "9000")
    monkeypatch.setenv("SADDLE_RELOAD_SECONDS", "0.5")
    settings = Settings()
    assert (settings.index, settings.port, settings.reload_seconds) == (Path("/srv/index"), 9000, 0.5)


def test_an_argument_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("SADDLE_PORT", "9000")
    assert Settings(index="x", port=9001).port == 9001


def test_without_a_word_the_service_stays_on_this_machine():
    assert Settings(index="x").host == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_addresses_are_accepted(host):
    assert Settings(index="x", host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "shop.example", ""])
def test_any_other_address_is_refused_with_what_to_do(host):
    with pytest.raises(ValidationError, match="SADDLE_ALLOW_PUBLIC=true") as caught:
        Settings(index="x", host=host)
    assert repr(host) in str(caught.value)


def test_a_public_address_may_be_allowed(monkeypatch):
    monkeypatch.setenv("SADDLE_ALLOW_PUBLIC", "true")
    monkeypatch.setenv("SADDLE_HOST", "0.0.0.0")
    assert Settings(index="x").host == "0.0.0.0"


def test_the_index_must_be_named():
    with pytest.raises(ValidationError, match="index"):
        Settings()


def test_the_device_is_the_cpu_unless_another_is_asked_for(monkeypatch):
    assert Settings(index="x").device == "cpu"
    monkeypatch.setenv("SADDLE_DEVICE", "cuda:1")
    assert Settings(index="x").device == "cuda:1"


def test_a_device_that_means_nothing_is_refused():
    with pytest.raises(ValidationError, match="'gpu0', but must be cpu, cuda or cuda:N"):
        Settings(index="x", device="gpu0")


def test_the_service_opens_snapshots_on_the_device_of_its_settings(monkeypatch, tmp_path):
    seen = {}

    class Listening(app.LiveSearcher):
        def __init__(self, root, **given):
            seen.update(given)
            super().__init__(root, **given)

    monkeypatch.setattr(app, "LiveSearcher", Listening)
    app.create_app(Settings(index=tmp_path, device="cuda:1/flat"))
    assert seen["open_searcher"].keywords == {"device": Device(1, "flat")}


def test_with_keys_any_address_may_be_listened_on(monkeypatch):
    monkeypatch.setenv("SADDLE_KEYS", "/srv/keys.json")
    assert Settings(index="x", host="0.0.0.0").keys == Path("/srv/keys.json")


def test_origins_are_split_at_commas(monkeypatch):
    monkeypatch.setenv("SADDLE_CORS_ORIGINS", "https://shop.example, http://localhost:3000")
    assert Settings(index="x").cors_origins == ("https://shop.example", "http://localhost:3000")
    monkeypatch.delenv("SADDLE_CORS_ORIGINS")
    assert Settings(index="x").cors_origins == ()


@pytest.mark.parametrize("origin", ["*", "shop.example", "https://shop.example/", "https://", "null", "ftp://x"])
def test_what_is_no_origin_is_refused(origin):
    with pytest.raises(ValidationError, match="is not an origin"):
        Settings(index="x", cors_origins=(origin,))
