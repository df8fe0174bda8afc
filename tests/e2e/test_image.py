"""The image is built without a Docker engine, from a Debian made here, and entered as an orchestrator would.

Its root is read-only, the user is not root and has no capabilities, and only the volume and /tmp take what is written.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pyarrow.csv
import pyarrow.parquet
import pytest
from fakes import shop_titles, write_bundle, write_catalog

pytestmark = pytest.mark.image

ROOT = Path(__file__).parents[2]
RELEASE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
USER = 10001
MOST_BYTES = 700_000_000
# what docker run --read-only --tmpfs /tmp --cap-drop ALL does, and the volume
ENTER = r"""
set -eu
root=$1 volume=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount --bind "$volume" "$root/var/lib/saddle"
mount -t tmpfs -o size=256m,mode=1777,noexec,nosuid,nodev tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --bounding-set=-all "$@"
"""


def require(condition, reason):
    if not condition:
        pytest.skip(reason)


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


class Buildah:
    """Debian's buildah with a store of its own, without a daemon and without namespaces of users."""

    def __init__(self, directory):
        self._command = ("buildah", "--root", directory / "store", "--runroot", directory / "run")
        self._command += ("--storage-driver", os.environ.get("STORAGE_DRIVER", "vfs"))

    def __call__(self, verb, *arguments):
        isolation = ("--isolation", "chroot") if verb in {"bud", "run"} else ()
        return run(*self._command, verb, *isolation, *arguments).strip()


def pip_of_this_machine(directory):
    """Volumes with which pip in a build finds its packages where pip here does."""
    listed = run(sys.executable, "-m", "pip", "config", "list").splitlines()
    told = {}
    for line in listed:
        name, _, value = line.partition("=")
        told[name.rpartition(".")[2]] = value.strip("'")
    (directory / "pip.conf").write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in told.items()))
    words = " ".join(told.values()).replace("file://", "").split()
    places = {Path(word) for word in words if word.startswith("/")}
    # an index lies beside the files that it names
    folders = {place.parent if place.is_file() or place.name == "simple" else place for place in places}
    mounted = [folder for folder in (*sorted(folders), Path("/etc/ssl/certs")) if folder.is_dir()]
    volumes = {directory / "pip.conf": "/etc/pip.conf", Path("/etc/resolv.conf"): "/etc/resolv.conf"}
    volumes |= {folder: folder for folder in mounted}
    return [part for source, target in volumes.items() for part in ("--volume", f"{source}:{target}:ro")]


@pytest.fixture(scope="module")
def buildah(tmp_path_factory):
    require(os.environ.get("SADDLE_TEST_IMAGE"), "builds an image for minutes: `make image` runs it")
    require(sys.platform == "linux" and os.geteuid() == 0, "chroot and mounts need root on Linux")
    for tool in ("buildah", "debootstrap", "unshare", "setpriv"):
        require(shutil.which(tool), f"{tool} is not installed")
    directory = tmp_path_factory.mktemp("image")
    buildah = Buildah(directory)
    yield buildah
    buildah("umount", "--all")
    shutil.rmtree(directory)  # gigabytes


@pytest.fixture(scope="module")
def image(buildah, tmp_path_factory):
    """The name of the image, its base a fresh Debian."""
    directory = tmp_path_factory.mktemp("base")
    packages = "python3,python3-venv,ca-certificates"
    run("debootstrap", "--variant=minbase", f"--include={packages}", RELEASE, directory / "root", MIRROR)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, directory / "root", "/")
    buildah("commit", "--quiet", container, "localhost/base")
    shutil.rmtree(directory / "root")
    volumes = pip_of_this_machine(directory)
    base = ("--build-arg", "BASE_IMAGE=localhost/base")
    # OCI's own format has no health check
    buildah("bud", "--layers=false", "--format", "docker", *base, *volumes, "--tag", "localhost/saddle", ROOT)
    return "localhost/saddle"


@pytest.fixture(scope="module")
def config(buildah, image):
    return json.loads(buildah("inspect", "--type", "image", image))["Docker"]["config"]


@pytest.fixture(scope="module")
def root(buildah, image):
    """The directory that is the image's root."""
    return Path(buildah("mount", buildah("from", image)))


@pytest.fixture
def volume(tmp_path):
    """What is mounted at /var/lib/saddle, with a model and a catalogue."""
    titles = shop_titles(200)
    directory = tmp_path / "volume"
    directory.mkdir()
    write_bundle(directory / "model", titles)
    catalog = write_catalog(tmp_path / "catalog.csv", titles)
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(catalog), directory / "catalog.parquet")
    for path in (directory, *directory.rglob("*")):
        os.chown(path, USER, USER)
    for parent in directory.parents:
        if parent.stat().st_uid == 0 and parent.is_relative_to(tmp_path.parents[1]):
            parent.chmod(0o755)
    return directory


def entered(config, root, volume, *command, **environment):
    """The command line that runs ``command`` in the image."""
    told = [*config["Env"], *(f"{name}={value}" for name, value in environment.items())]
    enter = ["unshare", "--mount", "sh", "-c", ENTER, "enter", root, volume]
    return [str(part) for part in (*enter, "/usr/bin/env", "--ignore-environment", *told, *command)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url, status):
    deadline = time.monotonic() + 60
    while True:
        try:
            response = httpx.get(url)
        except httpx.ConnectError:
            response = None
        if response is not None and response.status_code == status:
            return response
        assert time.monotonic() < deadline, f"{url} never answered {status}, but {response}"
        time.sleep(0.1)


def test_the_image_says_what_it_is(config):
    assert config["User"] == f"{USER}:{USER}"
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert config["Cmd"] == ["saddle", "serve"]
    labels = {name.removeprefix("org.opencontainers.image.") for name in config["Labels"]}
    assert {"title", "description", "licenses", "version", "revision"} <= labels


def test_the_command_shows_its_help(buildah, image):
    container = buildah("from", image)
    assert "reindex" in buildah("run", container, "--", "saddle", "--help")
    assert buildah("run", container, "--", "id", "--user") == str(USER)


def test_nothing_is_in_the_image_that_only_its_making_needed(root):
    assert not [name for name in ("gcc", "cc", "make", "g++") if (root / "usr/bin" / name).exists()]
    packages = next((root / "opt/saddle/lib").glob("python3*/site-packages"))
    names = {path.name for path in packages.iterdir()}
    assert not names & {"pip", "setuptools", "torch", "pytest", "tests"}
    assert not list(packages.glob("*/tests"))
    assert not (root / "root/.cache").exists()
    assert not (root / "src").exists()
    assert sum(path.lstat().st_size for path in (root / "opt/saddle").rglob("*")) < MOST_BYTES


def test_without_keys_it_does_not_let_others_call(config, root, volume):
    command = entered(config, root, volume, *config["Cmd"])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "SADDLE_ALLOW_PUBLIC" in done.stderr


def test_only_the_volume_and_tmp_can_be_written_to(config, root, volume):
    script = "id -u; touch /x || touch /opt/saddle/x || touch /tmp/x /var/lib/saddle/x && echo written"
    command = entered(config, root, volume, "sh", "-c", script)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [str(USER), "written"]
    assert done.stderr.count("Read-only file system") == 2


def test_it_indexes_serves_and_stops_on_a_read_only_root(config, root, volume):
    port = free_port()
    environment = {"SADDLE_HOST": "127.0.0.1", "SADDLE_PORT": str(port)}
    url = f"http://127.0.0.1:{port}"
    _, *health = config["Healthcheck"]["Test"]
    places = {"--model": "model", "--catalog": "catalog.parquet", "--out": "index"}
    arguments = [part for option, name in places.items() for part in (option, f"/var/lib/saddle/{name}")]
    with subprocess.Popen(entered(config, root, volume, *config["Cmd"], **environment)) as service:
        try:
            wait_for(f"{url}/livez", 200)
            assert httpx.get(f"{url}/readyz").status_code == 503
            run(*entered(config, root, volume, *health, **environment))
            run(*entered(config, root, volume, "saddle", "reindex", *arguments))
            assert wait_for(f"{url}/readyz", 200).json()["products"] == 200
            assert httpx.get(f"{url}/v1/search", params={"q": "cordless drill"}).json()["hits"]
            assert httpx.put(f"{url}/v1/products/p900", json={"title": "drill"}).status_code == 200
            service.send_signal(signal.SIGTERM)
            assert service.wait(timeout=30) in (0, -signal.SIGTERM)
        finally:
            service.kill()
    dead = subprocess.run(entered(config, root, volume, *health, **environment), capture_output=True, check=False)
    assert dead.returncode != 0
