"""The Dockerfile, the compose file and what they name fit together."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from service.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# a line that ends with a backslash goes on in the next one
STEPS = [step for step in re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines() if step and not step.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def stages():
    """By name, the base and the steps of each stage, in their order."""
    found = {}
    for step in STEPS:
        if match := re.fullmatch(r"FROM (\S+) AS (\S+)", step):
            found[match[2]] = (match[1], [])
        elif found:
            found[list(found)[-1]][1].append(step)
    return found


def inherited(name):
    """The steps of a stage and of those it comes from."""
    base, steps = stages()[name]
    return [*(inherited(base) if base in stages() else ()), *steps]


# The Dockerfile


def test_the_last_stage_is_the_one_for_processors():
    assert list(stages())[-1] == "cpu"
    assert {"cpu", "gpu", "train"} <= stages().keys()


@pytest.mark.parametrize("target", ["cpu", "gpu", "train"])
def test_an_image_ends_as_a_user_who_is_not_root(target):
    users = [step.split()[1] for step in inherited(target) if step.startswith("USER ")]
    assert users[-1] == "10001:10001"
    assert any(step.startswith("HEALTHCHECK ") for step in inherited(target))
    assert "EXPOSE 8080" in inherited(target)


@pytest.mark.parametrize("target", ["cpu", "train"])
def test_only_the_image_for_gpus_installs_a_compiler(target):
    assert not [step for step in inherited(target) if "apt-get" in step]
    assert [step for step in inherited("gpu") if "gcc" in step]


def test_an_image_does_not_let_strangers_in_by_itself():
    assert "SADDLE_ALLOW_PUBLIC" not in "".join(step for step in STEPS if step.startswith("ENV"))


def test_the_encoders_library_reports_to_nobody():
    assert "ORT_DISABLE_TELEMETRY=1" in "".join(step for step in STEPS if step.startswith("ENV"))


def test_every_setting_of_the_image_is_one_of_the_service():
    names = set(re.findall(r"\bSADDLE_([A-Z_]+)=", "".join(step for step in STEPS if step.startswith("ENV"))))
    assert names
    assert {name.lower() for name in names} <= Settings.model_fields.keys()


def test_the_version_on_the_label_is_that_of_the_distribution():
    assert f"ARG VERSION={PROJECT['version']}" in STEPS


def test_every_extra_that_is_installed_exists():
    asked = [word for line in re.findall(r"requirements\.py ([a-z ]+)>", DOCKERFILE) for word in line.split()]
    assert {"cpu", "gpu", "train"} == set(asked)
    assert set(asked) <= PROJECT["optional-dependencies"].keys()


def test_the_context_holds_what_the_dockerfile_copies_and_nothing_else():
    copied = set()
    for step in STEPS:
        if step.startswith("COPY ") and "--from" not in step:
            copied.update(step.split()[1:-1])
    let_in = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert all(any(name == one or name.startswith(f"{one}/") for one in let_in) for name in copied)
    assert all(any(name == one or name.startswith(f"{one}/") for name in copied) for one in let_in)
    assert all((ROOT / name).exists() for name in copied)


# The compose file


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_built_from_a_stage_that_exists(name):
    build = OURS[name]["build"]
    base, _ = stages()[build["target"]]
    assert base == "runtime"
    assert OURS[name]["image"] == f"saddle:{build['target']}"
    known = {step.split()[1].split("=")[0] for step in STEPS if step.startswith("ARG ")}
    assert build.get("args", {}).keys() <= known


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_can_write_only_to_its_volume_and_tmp(name):
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"].split(":")[0] == "/tmp"


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_to_this_machine_only(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


def test_no_two_services_want_one_port():
    taken = [port.rpartition(":")[0] for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize("name", SERVICES)
def test_every_mounted_path_exists(name):
    for volume in SERVICES[name].get("volumes", ()):
        source, _, *options = volume.split(":")
        if source == "./var":  # yours, if you have one
            continue
        if source.startswith("./"):
            assert options == ["ro"], f"{source} is mounted to be written to"
            if not (ROOT / source).exists() and source.startswith("./deploy/"):
                pytest.skip(f"{source} is not there yet")
            assert any((ROOT / source).iterdir())
        else:
            assert source in COMPOSE["volumes"]


def test_every_image_of_others_has_a_version():
    foreign = [service["image"] for name, service in SERVICES.items() if name not in OURS]
    assert all(re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", image) for image in foreign)


def test_settings_of_a_service_are_those_of_the_release():
    for service in OURS.values():
        names = {name.removeprefix("SADDLE_").lower() for name in service.get("environment", {})}
        assert names <= Settings.model_fields.keys()


def test_without_profiles_the_sample_and_all_that_watches_it_come_up():
    plain = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert plain == {"sample", "saddle", "prometheus", "alertmanager", "grafana"}
    assert "train" in stages()[SERVICES["sample"]["build"]["target"]][1][0]


def test_a_service_is_not_killed_before_its_requests_are_answered():
    grace = int(SERVICES["saddle"]["stop_grace_period"].removesuffix("s"))
    drain = Settings.model_fields.get("drain_seconds")
    assert grace >= Settings.model_fields["shutdown_seconds"].default + (drain.default if drain else 0) + 5
