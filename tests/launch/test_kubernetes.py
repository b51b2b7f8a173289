"""`launch/kubernetes.yaml`: its parts fit Kubernetes, each other and the command line."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from torch.distributed.run import get_args_parser, parse_min_max_nnodes

from sadp_dist.cli.main import app
from sadp_dist.training import load_config
from sadp_dist.training.trainer import batch_of_a_rank
from tests.launch.conftest import ROOT

Part = dict[str, Any]
PARTS: list[Part] = list(yaml.safe_load_all((ROOT / "launch" / "kubernetes.yaml").read_text()))
IMAGES = {"sadp_dist", "redis:7.4"}


def one(kind: str, name: str) -> Part:
    (part,) = (part for part in PARTS if part["kind"] == kind and part["metadata"]["name"] == name)
    return part


def template(part: Part) -> Part | None:
    """What a part's pods are made from."""
    spec = part.get("spec", {})
    if part["kind"] == "PyTorchJob":
        spec = spec["pytorchReplicaSpecs"]["Worker"]
    return spec.get("template")


PODS = [pod for part in PARTS if (pod := template(part)) is not None]


def containers(pod: Part) -> list[Part]:
    return [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The options of a `sadp-dist` command line; raises where it is none."""
    command: Any = typer.main.get_command(app)
    name, *rest = arguments
    return command.commands[name].make_context(name, list(rest)).params


def test_kubernetes_takes_every_part():
    assert len(PARTS) == 12
    for part in PARTS:
        if part["kind"] != "PyTorchJob":
            kubernetes_validate.validate(part, desired_version="1.30", strict=True)


def test_no_part_names_a_namespace():
    assert all("namespace" not in part["metadata"] for part in PARTS)


def test_pods_have_what_their_containers_mount_and_no_rights():
    assert len(PODS) == 6
    for pod in PODS:
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        volumes |= (
            {"data"} if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "sadp-dist-redis" else set()
        )
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["automountServiceAccountToken"] is False
        for container in containers(pod):
            assert container["image"] in IMAGES
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"] and not rights["allowPrivilegeEscalation"]
            assert rights["capabilities"] == {"drop": ["ALL"]}


def test_secrets_and_claims_that_pods_mount_are_those_that_the_manifest_speaks_of():
    claims = {part["metadata"]["name"] for part in PARTS if part["kind"] == "PersistentVolumeClaim"}
    for volume in (volume for pod in PODS for volume in pod["spec"]["volumes"]):
        if "persistentVolumeClaim" in volume:
            assert volume["persistentVolumeClaim"]["claimName"] in claims
        if "secret" in volume:
            assert volume["secret"]["secretName"] == "sadp-dist"
    head = (ROOT / "launch" / "kubernetes.yaml").read_text().partition("apiVersion")[0]
    assert "kubectl create secret generic sadp-dist --from-literal=redis-password=" in head
    assert "--from-literal=dashboard-token=" in head


def test_passwords_are_read_from_the_files_that_are_mounted():
    read = [
        (variable["value"], container, pod)
        for pod in PODS
        for container in containers(pod)
        for variable in container.get("env", ())
        if variable["name"].endswith("_FILE")
    ]
    assert len(read) == 4
    for path, container, pod in read:
        folder, _, file = path.rpartition("/")
        (mount,) = (mount for mount in container["volumeMounts"] if mount["mountPath"] == folder)
        (volume,) = (volume for volume in pod["spec"]["volumes"] if volume["name"] == mount["name"])
        items = volume["secret"].get("items", [{"path": "redis-password"}, {"path": "dashboard-token"}])
        assert file in {item["path"] for item in items}


@pytest.mark.parametrize("service", [part for part in PARTS if part["kind"] == "Service"], ids=str)
def test_a_service_leads_to_a_port_of_its_pods(service):
    (pod,) = (pod for pod in PODS if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items())
    ports = {port["name"]: port["containerPort"] for c in containers(pod) for port in c.get("ports", ())}
    for port in service["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]


def test_redis_runs_with_the_settings_of_docker_redis_conf():
    assert one("ConfigMap", "sadp-dist-redis")["data"]["redis.conf"].rstrip() == (
        (ROOT / "docker" / "redis.conf").read_text().rstrip()
    )
    (redis,) = template(one("StatefulSet", "sadp-dist-redis"))["spec"]["containers"]
    assert "PASSWORD_SHA256" in redis["args"][0]


def test_planner_rendezvous_and_dashboard_are_commands_of_ours_that_reach_each_other():
    def arguments(name: str) -> dict[str, Any]:
        (container,) = template(one("Deployment", name))["spec"]["containers"]
        assert "command" not in container  # the image's: sadp-dist
        return parsed(container["args"])

    store = "redis://sadp-dist-redis:6379"
    assert arguments("sadp-dist-planner")["store"] == store
    dashboard = arguments("sadp-dist-dashboard")
    assert (dashboard["store"], dashboard["host"], dashboard["port"]) == (store, "0.0.0.0", 8080)
    policy = one("PyTorchJob", "digits")["spec"]["elasticPolicy"]
    assert arguments("sadp-dist-rendezvous")["port"] == policy["rdzvPort"]
    assert one("Service", policy["rdzvHost"])["spec"]["ports"][0]["port"] == policy["rdzvPort"]


def test_the_trainers_command_line_is_one_of_torchruns_and_of_ours(monkeypatch):
    job = one("PyTorchJob", "digits")["spec"]
    (trainer,) = template(one("PyTorchJob", "digits"))["spec"]["containers"]
    assert (trainer["name"], trainer["command"]) == ("pytorch", ["torchrun"])
    policy, processes = job["elasticPolicy"], int(job["nprocPerNode"])
    # What the operator sets, by the names that it uses.
    for name, value in {
        "NNODES": f"{policy['minReplicas']}:{policy['maxReplicas']}",
        "NPROC_PER_NODE": processes,
        "MAX_RESTARTS": policy["maxRestarts"],
        "RDZV_BACKEND": policy["rdzvBackend"],
        "RDZV_ENDPOINT": f"{policy['rdzvHost']}:{policy['rdzvPort']}",
        "RDZV_ID": policy["rdzvId"],
        "RDZV_CONF": ",".join(f"{conf['key']}={conf['value']}" for conf in policy["rdzvConf"]),
    }.items():
        monkeypatch.setenv(f"PET_{name}", str(value))
    torchrun = get_args_parser().parse_args(trainer["args"])
    assert torchrun.module and torchrun.training_script == "sadp_dist"
    assert torchrun.rdzv_endpoint == "sadp-dist-rendezvous:29400"
    assert torchrun.rdzv_conf.startswith("is_host=false,")
    fewest, most = parse_min_max_nnodes(torchrun.nnodes)

    command, *arguments = torchrun.training_script_args
    options = parsed([command, *arguments])
    assert options["resume"] is True
    of_the_image = options["config"].relative_to("/work")
    config = load_config(ROOT / of_the_image, options["overrides"])
    for replicas in range(fewest, most + 1):
        assert batch_of_a_rank(config.training, replicas * processes)
    assert config.store.url == "redis://sadp-dist-redis:6379"
    variables = {variable["name"] for variable in trainer["env"]}
    assert {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "SADP_DIST_REDIS_PASSWORD_FILE"} <= variables
