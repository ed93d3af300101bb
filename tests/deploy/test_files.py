"""The tools that read the files of deploy/ accept them, and the files contain no secrets and no privileges."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from rxhub.embedded.binary import find
from tests.cli.terminal import rxhub
from tests.deploy.services import DEPLOY, ROOT, TLS, adapted, program, scraped

_UNITS: Final = sorted(path.name for path in DEPLOY.glob("systemd/*.service"))
_MANIFESTS: Final = sorted(path.name for path in DEPLOY.glob("kubernetes/*.yaml"))
_COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
_MOST_EXPOSED: Final = 20
"""Tenths: `systemd-analyze security` calls up to 2.0 "OK", the best but one of its levels."""


def _run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("unit", _UNITS)
def test_systemd_accepts_the_units_and_finds_them_hardened(unit: str, tmp_path: Path) -> None:
    # systemd checks that the program exists.
    path = tmp_path / unit
    path.write_text(adapted((DEPLOY / "systemd" / unit).read_text(), {"/opt/rxhub/bin/rxhub": "/bin/true"}))
    verified = _run(program("systemd-analyze"), "verify", str(path))
    assert verified.returncode == 0 and unit not in verified.stderr, verified.stderr
    security = _run(
        program("systemd-analyze"),
        "security",
        "--offline=true",
        f"--threshold={_MOST_EXPOSED}",
        "--no-pager",
        str(path),
    )
    assert security.returncode == 0, security.stdout + security.stderr


def _documents() -> list[dict[str, Any]]:
    texts = [(DEPLOY / "kubernetes" / name).read_text() for name in _MANIFESTS]
    return [document for text in texts for document in yaml.safe_load_all(text)]


@pytest.mark.parametrize("document", _documents(), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_a_manifest_has_the_schema_of_kubernetes(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, "1.33", strict=True)


def test_no_container_has_privileges_or_can_write_to_its_root() -> None:
    containers = 0
    for document in _documents():
        if "template" not in document.get("spec", {}):
            continue
        pod = document["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            containers += 1
    assert containers == len(_MANIFESTS)
    for name, service in _COMPOSE["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_kustomize_finds_all_manifests_and_files() -> None:
    kustomization = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == [f"kubernetes/{name}" for name in _MANIFESTS]
    (generator,) = kustomization["configMapGenerator"]
    assert generator["name"] == "rxhub-haproxy" and all((DEPLOY / name).is_file() for name in generator["files"])


def test_compose_services_refer_to_what_exists() -> None:
    services, volumes = _COMPOSE["services"], _COMPOSE["volumes"]
    created = {"./config/users.toml", "./config/metrics.key", "./tls"}
    for name, service in services.items():
        assert set(service.get("depends_on", [])) <= set(services), name
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in volumes or source in created or (DEPLOY / source).is_file(), mount
    # Only the proxy is public; Prometheus is for this machine.
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"proxy": ["443:443"], "prometheus": ["127.0.0.1:9090:9090"]}


def test_prometheus_scrapes_each_server_and_worker_where_it_serves_metrics() -> None:
    served: set[tuple[str, int]] = set()
    for name, service in _COMPOSE["services"].items():
        match service.get("command", []):
            case ["serve", *_]:
                served.add((name, 8765))
            case ["work", *options]:
                served |= {(name, int(each.rpartition(":")[2])) for each in options if each.startswith("--metrics=")}
    assert set(scraped()) == served and len(served) == 4
    mounted = _COMPOSE["services"]["prometheus"]["volumes"]
    for rules in yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["rule_files"]:
        assert f"./{rules}:/etc/prometheus/{rules}:ro" in mounted


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    key = tmp_path / "metrics.key"
    key.write_text("k1")
    configuration = tmp_path / "prometheus.yml"
    changes = {"/etc/prometheus/metrics.key": str(key), "alerts.yml": str(DEPLOY / "alerts.yml")}
    configuration.write_text(adapted((DEPLOY / "prometheus.yml").read_text(), changes))
    checked = _run(program("promtool"), "check", "config", str(configuration))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_workers_have_the_same_port_everywhere() -> None:
    workers = [
        *(" ".join(_COMPOSE["services"][name]["command"]) for name in ("worker-1", "worker-2")),
        (DEPLOY / "kubernetes/workers.yaml").read_text(),
        (DEPLOY / "systemd/rxhub-worker.service").read_text(),
    ]
    for text in workers:
        assert re.findall(r"--(health|metrics)[= ](?:0\.0\.0\.0:)?(\d+)", text) == [
            ("health", "8766"),
            ("metrics", "8766"),
        ]
    exposed = re.findall(r"(?m)^EXPOSE (.*)$", (DEPLOY / "Dockerfile").read_text())
    assert exposed == ["8765 8766"]


def test_commands_of_rxhub_are_valid() -> None:
    """Each option of `rxhub` in a unit, a manifest or the compose file is in the help of its command."""
    commands = [
        line
        for path in DEPLOY.glob("systemd/*.service")
        for line in re.findall(r"ExecStart=/opt/rxhub/bin/rxhub (.*)", path.read_text().replace("\\\n", ""))
    ]
    commands += [
        " ".join(container["args"])
        for document in _documents()
        for container in document["spec"].get("template", {}).get("spec", {}).get("containers", [])
        if "args" in container
    ]
    commands += [" ".join(each["command"]) for each in _COMPOSE["services"].values() if each["image"] == "rxhub"]
    help_of: dict[str, str] = {}
    for command in commands:
        name, *arguments = command.split()
        help_of.setdefault(name, rxhub(name, "--help").stdout.decode())
        for option in re.findall(r"(?<!\S)(--[a-z-]+)", " ".join(arguments)):
            assert option in help_of[name], f"rxhub {command}: {option}"
    assert set(help_of) == {"serve", "bridge", "work"}


def test_nats_accepts_its_configuration(tmp_path: Path) -> None:
    configuration = tmp_path / "nats.conf"
    configuration.write_text(adapted((DEPLOY / "nats.conf").read_text(), {"/data": str(tmp_path)}))
    checked = _run(str(find()), "-t", "-c", str(configuration), RXHUB_NATS_PASSWORD="p1")
    assert checked.returncode == 0, checked.stderr


def test_haproxy_starts_with_servers_that_do_not_resolve_yet() -> None:
    addresses = {"RXHUB_1": "a.invalid:1", "RXHUB_2": "b.invalid:1"}
    checked = _run(
        program("haproxy"), "-c", "-f", str(DEPLOY / "haproxy.cfg"), RXHUB_BIND=":443", RXHUB_CERTIFICATE=str(TLS),
        **addresses,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr


def test_the_image_runs_as_a_user_without_privileges_and_contains_only_the_package() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    build, final = re.split(r"(?m)^FROM ", text)[1:]
    assert re.findall(r"(?m)^USER (\S+)", final) == ["10001:10001"]
    assert "COPY --from=build /opt/rxhub /opt/rxhub" in final and "pip install" not in final
    assert not re.search(r"(?mi)^(ARG|ENV).*(KEY|PASSWORD|SECRET|TOKEN)", text)
    # The commands of the deployment need these extras; traces need otel.
    (extras,) = re.findall(r"'/src\[(.*)\]'", build)
    assert set(extras.split(",")) == {"cli", "metrics", "nats", "otel", "server"}
    # What is copied exists, and the other files of the repository are not sent to the builder.
    sources = [name for line in re.findall(r"(?m)^COPY (.*) \S+$", build) for name in line.split()]
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert all((ROOT / name).exists() and f"!{name}" in ignored for name in sources)
    assert ignored[0] == "*"
