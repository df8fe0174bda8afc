"""The Kubernetes manifests fit the API, each other, the image and the service."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from service.cli import app
from service.settings import Settings

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
BASE = KUBERNETES / "base"
OVERLAYS = sorted(path.parent for path in KUBERNETES.glob("overlays/*/kustomization.yaml"))
# preStop's sleep is on from 1.30
VERSIONS = ("1.30", kubernetes_validate.latest_version())
MADE_BY_HAND = {("Secret", "saddle-keys")}


def documents(text):
    return [part for part in yaml.safe_load_all(text) if part]


def kustomization(directory):
    (found,) = documents((directory / "kustomization.yaml").read_text(encoding="utf-8"))
    return found


def base():
    return [part for name in kustomization(BASE)["resources"] for part in documents((BASE / name).read_text())]


def rendered(directory):
    """What kustomize makes of an overlay."""
    if kustomize := shutil.which("kustomize"):
        command = [kustomize, "build"]
    elif kubectl := shutil.which("kubectl"):
        command = [kubectl, "kustomize"]
    else:
        pytest.skip("neither kustomize nor kubectl is installed to render overlays")
    done = subprocess.run([*command, str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


@pytest.fixture(params=["base", *(path.name for path in OVERLAYS)])
def manifests(request):
    return base() if request.param == "base" else rendered(KUBERNETES / "overlays" / request.param)


def of_kind(manifests, kind):
    return [part for part in manifests if part["kind"] == kind]


def pods(manifests):
    """By name of the object that makes it, each pod's template."""
    found = {part["metadata"]["name"]: part["spec"]["template"] for part in of_kind(manifests, "Deployment")}
    for job in of_kind(manifests, "CronJob"):
        found[job["metadata"]["name"]] = job["spec"]["jobTemplate"]["spec"]["template"]
    assert found
    return found


def containers(template):
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def selected(selector, manifests):
    wanted = selector.get("matchLabels", selector).items()
    return [name for name, template in pods(manifests).items() if wanted <= template["metadata"]["labels"].items()]


def seconds(name):
    """A setting's default, 0 where the release has no such setting."""
    field = Settings.model_fields.get(name)
    return 0 if field is None else field.default


# The API


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_fits_the_schema_of_its_kind(manifests, version):
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_would_be_noticed():
    (deployment,) = of_kind(base(), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("directory", [BASE, *OVERLAYS], ids=lambda path: path.name)
def test_a_kustomization_names_every_file_beside_it_and_no_other(directory):
    own = kustomization(directory)
    named = {name for name in own["resources"] if not name.startswith("..")}
    named |= {patch["path"] for patch in own.get("patches", ()) if "path" in patch}
    assert named == {path.name for path in directory.iterdir()} - {"kustomization.yaml"}
    assert all((directory / name).is_dir() for name in own["resources"] if name.startswith(".."))


@pytest.mark.parametrize("directory", OVERLAYS, ids=lambda path: path.name)
def test_every_patch_has_a_target_in_the_base(directory):
    there = {(part["kind"], part["metadata"]["name"]) for part in base()}
    for patch in kustomization(directory).get("patches", ()):
        assert (patch["target"]["kind"], patch["target"]["name"]) in there


# Each other


def test_all_are_in_one_namespace(manifests):
    (namespace,) = of_kind(manifests, "Namespace")
    others = [part for part in manifests if part["kind"] != "Namespace"]
    assert {part["metadata"]["namespace"] for part in others} == {namespace["metadata"]["name"]}


def test_selectors_find_the_replicas(manifests):
    (deployment,) = of_kind(manifests, "Deployment")
    (service,) = of_kind(manifests, "Service")
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    budgets = of_kind(manifests, "PodDisruptionBudget")
    for selector in (
        deployment["spec"]["selector"],
        service["spec"]["selector"],
        *(one["labelSelector"] for one in spread),
        *(one["spec"]["selector"] for one in budgets),
    ):
        assert selected(selector, manifests) == ["saddle"]


def test_the_scaler_finds_the_deployment_and_leaves_it_the_number(manifests):
    (deployment,) = of_kind(manifests, "Deployment")
    scalers = of_kind(manifests, "HorizontalPodAutoscaler")
    assert bool(scalers) == ("replicas" not in deployment["spec"])
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
        assert deployment["apiVersion"] == target["apiVersion"]


def test_nobody_gets_in_or_out_but_callers_to_the_replicas(manifests):
    deny, callers = sorted(of_kind(manifests, "NetworkPolicy"), key=lambda one: "ingress" in one["spec"])
    assert selected(deny["spec"]["podSelector"], manifests) == list(pods(manifests))
    assert set(deny["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert selected(callers["spec"]["podSelector"], manifests) == ["saddle"]
    assert callers["spec"]["policyTypes"] == ["Ingress"]


def test_every_port_that_is_named_is_one_of_the_container(manifests):
    (service,) = of_kind(manifests, "Service")
    (container,) = pods(manifests)["saddle"]["spec"]["containers"]
    names = {port["name"] for port in container["ports"]}
    asked = {port["targetPort"] for port in service["spec"]["ports"]}
    asked |= {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    policies = of_kind(manifests, "NetworkPolicy")
    rules = [rule for one in policies for rule in one["spec"].get("ingress", ())]
    asked |= {port["port"] for rule in rules for port in rule["ports"]}
    assert asked == names


def test_whatever_a_pod_refers_to_is_there(manifests):
    there = {(part["kind"], part["metadata"]["name"]) for part in manifests} | MADE_BY_HAND
    for template in pods(manifests).values():
        spec = template["spec"]
        wanted = {("ServiceAccount", spec["serviceAccountName"])}
        for volume in spec["volumes"]:
            if "persistentVolumeClaim" in volume:
                wanted.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
            if "secret" in volume:
                wanted.add(("Secret", volume["secret"]["secretName"]))
        for container in containers(template):
            wanted |= {("ConfigMap", source["configMapRef"]["name"]) for source in container.get("envFrom", ())}
            assert {mount["name"] for mount in container["volumeMounts"]} <= {one["name"] for one in spec["volumes"]}
        assert wanted <= there


# The image


def test_every_pod_is_as_restricted_as_its_namespace_asks(manifests):
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    user = int(re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1])
    for template in pods(manifests).values():
        assert template["spec"]["automountServiceAccountToken"] is False
        security = template["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == user
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(template):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"/tmp", "/var/lib/saddle"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
            assert {"cpu", "memory"} == container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


def test_what_a_job_runs_is_a_command_with_these_options(manifests):
    commands = get_command(app)
    for container in containers(pods(manifests)["saddle-reindex"]):
        _, *words = [*container["command"], *container.get("args", ())]
        command = commands
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        command.make_context("saddle", words, resilient_parsing=False)


# The service


def test_every_setting_is_one_of_the_service(manifests):
    (settings,) = of_kind(manifests, "ConfigMap")
    names = {name.removeprefix("SADDLE_").lower() for name in settings["data"]}
    assert all(name.startswith("SADDLE_") for name in settings["data"])
    assert names <= Settings.model_fields.keys()


def test_a_pod_is_not_killed_before_its_requests_are_answered(manifests):
    (settings,) = of_kind(manifests, "ConfigMap")
    spec = pods(manifests)["saddle"]["spec"]
    (container,) = spec["containers"]
    own = settings["data"].get("SADDLE_DRAIN_SECONDS", seconds("drain_seconds"))
    needed = container["lifecycle"]["preStop"]["sleep"]["seconds"] + float(own)
    needed += float(settings["data"]["SADDLE_SHUTDOWN_SECONDS"])
    assert spec["terminationGracePeriodSeconds"] >= needed + 5


def test_only_a_single_replica_may_write_to_the_index(manifests):
    (deployment,) = of_kind(manifests, "Deployment")
    modes = {
        part["metadata"]["name"]: part["spec"]["accessModes"] for part in of_kind(manifests, "PersistentVolumeClaim")
    }
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (index,) = [mount for mount in container["volumeMounts"] if mount["name"] == "index"]
    alone = deployment["spec"].get("replicas") == 1 and deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert index.get("readOnly", False) is not alone
    assert modes["saddle-index"] == (["ReadWriteOnce"] if alone else ["ReadWriteMany"])


def test_probes_ask_routes_that_need_no_key(manifests):
    (container,) = pods(manifests)["saddle"]["spec"]["containers"]
    asked = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert asked == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


def test_the_adapters_rule_makes_the_metric_that_scales():
    (scaler,) = of_kind(base(), "HorizontalPodAutoscaler")
    (metric,) = [one["pods"]["metric"]["name"] for one in scaler["spec"]["metrics"] if one["type"] == "Pods"]
    readme = (KUBERNETES / "README.md").read_text(encoding="utf-8")
    (values,) = [
        yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "rules:" in block
    ]
    (rule,) = values["rules"]["custom"]
    assert rule["seriesQuery"].startswith(metric)
