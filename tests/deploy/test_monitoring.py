"""The alert rules and the dashboard in `deploy/`, with Prometheus' own tool."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from rxhub.server.counters import COUNTERS, GAUGES
from rxhub.telemetry import metrics
from tests.deploy.services import DEPLOY, program

RULES = DEPLOY / "alerts.yml"
DASHBOARD = DEPLOY / "grafana-dashboard.json"
SERIES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@pytest.fixture(scope="module")
def known() -> set[str]:
    """The names of all series."""
    registry = CollectorRegistry()
    metrics.enable(registry)
    try:
        found = {f"{each.name}{suffix}" for each in registry.collect() for suffix in SERIES[each.type]}
    finally:
        metrics.disable()
    return {*found, *(f"rxhub_server_{name}_total" for name in COUNTERS), *(f"rxhub_server_{name}" for name in GAUGES)}


def expressions() -> Iterator[str]:
    """The queries of the dashboard, as Grafana sends them."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_each_metric_exists(path: Path, known: set[str]) -> None:
    text = path.read_text()
    named = set(re.findall(r"\brxhub_\w+", text))
    assert len(named) > 15
    assert named <= known


def test_panels_have_queries_and_do_not_overlap() -> None:
    places: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        assert panel["type"] == "row" or panel["targets"], panel["title"]
        place = panel["gridPos"]
        covers = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not places & covers, panel["title"]
        places |= covers


def test_prometheus_accepts_rules_and_queries(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions())]
    # YAML contains JSON.
    queries = tmp_path / "queries.yml"
    queries.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert len(rules) > 30
    for path in (RULES, queries):
        promtool("check", "rules", str(path))


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    inside = ", ".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"{name}{{{inside}}}", "values": values}


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    worker = {"instance": "worker", "group": "farm"}
    given = [
        series("up", "1x10 0x50", job="rxhub-server", instance="one"),
        series("up", "1x60", job="rxhub-server", instance="two"),
        series("rxhub_processing_dead_total", "0x20 1x40", topic="studio.render", **worker),
        series("rxhub_processing_handled_total", "0+10x20 200x60", topic="studio.render", **worker),
        series("rxhub_processing_failed_total", "0x60", topic="studio.render", **worker),
        series("rxhub_group_waiting", "0+100x100", **worker),
        series("rxhub_bridge_waiting", "20000x60", instance="bridge", bridge="film"),
        series("rxhub_server_store_free_bytes", "5x60", instance="one"),
        series("rxhub_server_store_size_bytes", "100x60", instance="one"),
    ]
    fires = {
        "RxhubDown": [({"job": "rxhub-server", "instance": "one", "severity": "critical"}, "15m")],
        "RxhubDeadLetters": [({"group": "farm", "severity": "warning"}, "25m")],
        "RxhubBridgeBehind": [({"bridge": "film", "severity": "warning"}, "15m")],
        "RxhubDiskFilling": [({"instance": "one", "severity": "warning"}, "15m")],
        "RxhubGroupLags": [({"group": "farm", "severity": "warning"}, "40m")],
        "RxhubGroupStuck": [({"group": "farm", "severity": "critical"}, "90m")],
        "RxhubHandlersFail": [({}, "")],
    }
    rules = json.loads(json.dumps(RULES.read_text()))
    tests = [
        {"eval_time": when or "40m", "alertname": name, "exp_alerts": [{"exp_labels": labels}] if labels else []}
        for name, expected in fires.items()
        for labels, when in expected
    ]
    assert all(f"alert: {name}\n" in rules for name in fires)
    # Without annotations, because promtool compares them too.
    bare = tmp_path / "rules.yml"
    bare.write_text(re.sub(r"\n +annotations:\n +summary: .*", "", rules))
    test = tmp_path / "test.yml"
    test.write_text(
        json.dumps(
            {
                "rule_files": [str(bare)],
                "evaluation_interval": "1m",
                "tests": [{"interval": "1m", "input_series": given, "alert_rule_test": tests}],
            }
        )
    )
    promtool("test", "rules", str(test))


def promtool(*arguments: str) -> None:
    ended = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
