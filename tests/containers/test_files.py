"""What the files of docker/ say to each other, and to the project, agrees."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from sadp_dist.dashboard import Runs, open_source
from sadp_dist.dashboard.prometheus import metrics
from tests.containers.engine import ROOT
from tests.store.redis_server import RedisServer

DOCKER = ROOT / "docker"
METRIC = re.compile(r"\bsadp_dist_\w+")


def compose(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((DOCKER / name).read_text()))


@pytest.fixture(scope="module")
def grafana() -> dict[str, Any]:
    return dict(json.loads((DOCKER / "grafana" / "dashboards" / "sadp_dist.json").read_text()))


def targets(grafana: dict[str, Any]) -> list[dict[str, Any]]:
    return [target for panel in grafana["panels"] for target in panel.get("targets", [])]


def test_grafana_shows_every_figure_that_the_dashboard_exports_and_no_other(grafana, tmp_path):
    with RedisServer(tmp_path) as redis:
        text = asyncio.run(metrics(Runs(open_source(redis.url)))).decode()
    exported = set(re.findall(r"^# TYPE (sadp_dist_\w+)", text, re.MULTILINE))
    assert len(exported) > 20
    assert {name for target in targets(grafana) for name in METRIC.findall(target["expr"])} == exported


def test_every_panel_is_of_the_run_that_is_chosen_and_of_the_source_that_is_provisioned(grafana):
    (source,) = compose("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    (chosen,) = grafana["templating"]["list"]
    for part in [*targets(grafana), chosen]:
        assert part["datasource"] == {"type": source["type"], "uid": source["uid"]}
    for target in targets(grafana):
        assert target["expr"] == "sadp_dist_up" or f'{{run=~"${chosen["name"]}"' in target["expr"]


def test_no_panel_covers_another(grafana):
    taken: set[tuple[int, int]] = set()
    for panel in grafana["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in grafana["panels"]}) == len(grafana["panels"])


def test_what_prometheus_and_grafana_read_is_where_compose_puts_it():
    services = compose("compose.yaml")["services"]
    (scrape,) = compose("prometheus.yaml")["scrape_configs"]
    token = services["dashboard"]["environment"]["SADP_DIST_DASHBOARD_TOKEN_FILE"]
    assert scrape["authorization"]["credentials_file"] == token
    assert "dashboard_token" in services["prometheus"]["secrets"]
    assert scrape["static_configs"] == [{"targets": ["dashboard:8080"]}]
    (provider,) = compose("grafana/provisioning/dashboards/sadp_dist.yaml")["providers"]
    (source,) = compose("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in services["grafana"]["volumes"]
    assert source["url"] == "http://prometheus:9090"


def test_only_the_pages_and_what_a_cluster_needs_are_published_and_by_default_to_this_machine():
    services = compose("compose.yaml")["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"redis", "rendezvous", "dashboard", "grafana"}
    for (port,) in published.values():
        assert port.startswith(("127.0.0.1:", "${BIND:-127.0.0.1}:"))


def test_every_service_is_without_privileges_and_its_log_has_an_end():
    services = compose("compose.yaml")["services"] | compose("trainer.yaml")["services"]
    added = {name: service["cap_add"] for name, service in services.items() if "cap_add" in service}
    assert added == {"redis": ["CHOWN", "SETUID", "SETGID"]}
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["options"]["max-size"], name
        assert "mem_limit" in service or name in ("data", "trainer"), name
        assert service.get("read_only") or service["image"].startswith("${IMAGE"), name
        assert re.search(r"(:v?\d+\.\d+[.\d]*}?|sadp_dist\})$", service["image"]), name


def test_the_dashboard_shows_images_where_there_are_some_and_starts_without(tmp_path):
    dashboard = compose("compose.yaml")["services"]["dashboard"]
    shell = [part.replace("$$", "$") for part in dashboard["entrypoint"]]
    program = tmp_path / "sadp-dist"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    (tmp_path / "data" / "mine").mkdir(parents=True)

    def starts(images: str) -> str:
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "IMAGES": images}
        command = [*shell, *dashboard["command"].split()]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert starts("data/digits/images") == f"{dashboard['command']}\n"
    assert starts("data/mine") == f"{dashboard['command']} --images data/mine --split train\n"


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("compose.yaml", ["compose.yaml", "trainer.yaml"]),
        ("compose.node.yaml", ["compose.node.yaml", "trainer.yaml"]),
    ],
)
def test_the_head_of_a_compose_file_describes_each_of_its_variables(name, reads):
    head = (DOCKER / name).read_text().partition("\nname:")[0]
    for file in reads:
        for variable in re.findall(r"[^$]\$\{(\w+)", (DOCKER / file).read_text()):
            assert re.search(rf"\b{variable}\b", head), variable


def test_the_image_has_the_ffcv_that_the_project_asks_for():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (version,) = re.findall(r"^ARG FFCV_VERSION=(.*)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    assert extras["ffcv"] == [f"ffcv=={version}"]


def test_what_the_dockerfile_copies_is_not_ignored():
    dockerfile = (DOCKER / "Dockerfile").read_text()
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE)
        for source in sources.split()
    }
    assert sent == copied
    assert all((ROOT / path).exists() for path in copied)
