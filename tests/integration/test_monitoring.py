"""What is shipped for Prometheus and Grafana asks only for metrics that a proxy exports, and each alert can fire."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "appliance" / "monitoring"
CASES = Path(__file__).with_name("alerts_test.yml")
METRIC = re.compile(r"\b(?:appliance|process)_\w+")
HOW = ("fires", "stays quiet")
OF_HISTOGRAM = re.compile(r"_(?:bucket|sum|count)$")


@pytest.fixture(scope="module")
def promtool() -> str:
    """Return Prometheus' own checker, which is fetched where it is missing."""
    subprocess.run([ROOT / "packer" / "need.sh", "promtool"], check=True)
    found = shutil.which("promtool", path=f"{os.environ['PATH']}:{ROOT / 'build' / 'bin'}")
    assert found
    return found


@pytest.fixture(scope="module")
def documented() -> set[str]:
    """Return the metrics of docs/metrics.md; test_metrics.py sees that a proxy exports these, and no others."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    return set(re.findall(r"^\| `(appliance_\w+)` \| (?:counter|gauge|histogram) ", page, re.MULTILINE))


def asked_for(query: str) -> set[str]:
    return {OF_HISTOGRAM.sub("", name) for name in METRIC.findall(query)}


def test_promtool_accepts_the_alert_rules_and_the_example(promtool: str) -> None:
    for check in (["rules", SHIPPED / "alerts.yml"], ["config", "--syntax-only", SHIPPED / "prometheus.yml"]):
        done = subprocess.run([promtool, "check", *check], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "SUCCESS" in done.stdout


def test_each_alert_fires_when_it_should_and_else_stays_quiet(promtool: str) -> None:
    alerts = re.findall(r"^ +- alert: (\w+)", (SHIPPED / "alerts.yml").read_text(), re.MULTILINE)
    cases = CASES.read_text()
    for alert in alerts:
        fires, quiet = (cases.partition(f"- name: {alert} {how}\n")[2].partition("- name:")[0] for how in HOW)
        assert f"alertname: {alert}" in fires
        assert "exp_labels" in fires
        assert f"alertname: {alert}" in quiet
        assert "exp_alerts: []" in quiet
    done = subprocess.run([promtool, "test", "rules", CASES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_that_does_not_fire_is_noticed(promtool: str, tmp_path: Path) -> None:
    """The test above would else pass with rules that never fire."""
    rules, cases = tmp_path / "alerts.yml", tmp_path / "cases.yml"
    rules.write_text((SHIPPED / "alerts.yml").read_text().replace("appliance_redis_up == 0", "appliance_redis_up == 2"))
    cases.write_text(CASES.read_text().replace("../../appliance/monitoring/", ""))
    done = subprocess.run([promtool, "test", "rules", cases], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ApplianceRedisDown" in done.stdout + done.stderr


def test_alerts_ask_only_for_metrics_that_are_exported(documented: set[str]) -> None:
    asked = asked_for(" ".join(re.findall(r"expr: (.*)", (SHIPPED / "alerts.yml").read_text())))
    assert len(asked) > 10
    assert asked <= documented


def panels_of(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_the_dashboard_asks_only_for_metrics_that_are_exported(documented: set[str]) -> None:
    dashboard = json.loads((SHIPPED / "grafana.json").read_text())
    queries = [target["expr"] for panel in panels_of(dashboard) for target in panel["targets"]]
    asked = asked_for(" ".join([*queries, *(one.get("definition", "") for one in dashboard["templating"]["list"])]))
    assert len(queries) > 20
    assert asked - {"process_cpu_seconds_total"} <= documented
    only_to_look_up = {"appliance_proxy_sessions", "appliance_inner_sessions", "appliance_safe_to_stop"}
    assert documented - asked == {*only_to_look_up, "appliance_audit_timestamp_seconds"}


def test_prometheus_understands_every_query_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    dashboard = json.loads((SHIPPED / "grafana.json").read_text())
    queries = [target["expr"] for panel in panels_of(dashboard) for target in panel["targets"]]
    plain = [query.replace("$__rate_interval", "5m").replace("$instance", ".*") for query in queries]
    rules = {"groups": [{"name": "all", "rules": [{"record": f"q{i}", "expr": e} for i, e in enumerate(plain)]}]}
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps(rules))  # JSON is YAML
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_of_the_dashboard_do_not_overlap_and_have_ids_of_their_own() -> None:
    dashboard = json.loads((SHIPPED / "grafana.json").read_text())
    fields = [
        (x, y)
        for at in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(fields) == len(set(fields))
    assert max(x for x, _ in fields) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
