"""What is deployed beside the service agrees with it: rules, alerts and dashboards name what it exposes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from service.metrics import Metrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = ("recording.yml", "alerts.yml")
RULE_TESTS = ("alerts_test.yml", "alerts_over_days_test.yml")
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "saddle.json"
_NAME = re.compile(r"\b(?:saddle[_:]|process_)[A-Za-z0-9_:]+")
_DURING_ALERTS = {"up", "ALERTS"}


def program(name):
    found = shutil.which(name)
    return found or pytest.skip(f"{name} is not installed: apt-get install prometheus prometheus-alertmanager")


def checked(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules():
    """Every rule: (file, rule)."""
    for name in RULES:
        for group in yaml.safe_load((DEPLOY / "prometheus" / name).read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                yield name, rule


ALERTS = [rule for _, rule in rules() if "alert" in rule]


def panels():
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]


def dashboard_queries():
    """Every query: (title, expression), with a job in place of the dashboard's variable."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())]
    found += [(note["name"], note["expr"]) for note in board["annotations"]["list"]]
    return [(title, expression.replace("$job", "saddle")) for title, expression in found]


def exposed():
    """Names of all series that the service may expose, or that a rule records."""
    text = Metrics(CollectorRegistry()).encoded("")[0].decode()
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return names | {rule["record"] for _, rule in rules() if "record" in rule}


def test_prometheus_accepts_its_configuration_and_rules():
    checked(program("promtool"), "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))


@pytest.mark.parametrize("name", RULE_TESTS)
def test_every_alert_fires_when_it_should(name):
    checked(program("promtool"), "test", "rules", str(DEPLOY / "prometheus" / name))


def test_every_alert_is_tested_firing():
    fired = set()
    for name in RULE_TESTS:
        for test in yaml.safe_load((DEPLOY / "prometheus" / name).read_text(encoding="utf-8"))["tests"]:
            fired |= {one["alertname"] for one in test.get("alert_rule_test", ()) if one["exp_alerts"]}
    assert fired == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_says_how_bad_it_is_and_where_to_read_on(alert):
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["description"]
    document, anchor = alert["annotations"]["runbook_url"].split("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE)
    assert alert["alert"] in headings
    assert anchor == alert["alert"].lower()


def test_rules_and_dashboard_name_only_what_the_service_exposes_or_a_rule_records():
    known = exposed()
    queries = [(rule.get("alert") or rule["record"], rule["expr"]) for _, rule in rules()] + dashboard_queries()
    unknown = {(title, name) for title, query in queries for name in _NAME.findall(query) if name not in known}
    assert not unknown
    assert all(_NAME.search(query) or any(name in query for name in _DURING_ALERTS) for _, query in queries)


def test_the_dashboard_shows_every_metric_of_the_service():
    shown = {name for _, query in dashboard_queries() for name in _NAME.findall(query)}
    behind = {rule["record"]: _NAME.findall(rule["expr"]) for _, rule in rules() if "record" in rule}
    shown |= {name for record in shown & behind.keys() for name in behind[record]}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    missing = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed() if name.startswith("saddle_")} - families
    assert not missing


def test_every_metric_is_explained():
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed() if name.startswith("saddle_")}
    assert not {name for name in families if f"`{name}`" not in text}


def test_every_query_of_the_dashboard_can_be_parsed(tmp_path):
    recorded = [
        {"record": f"panel:query:{number}", "expr": query} for number, (_, query) in enumerate(dashboard_queries())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}), encoding="utf-8")
    assert f"{len(recorded)} rules found" in checked(program("promtool"), "check", "rules", str(file))


def test_panels_of_the_dashboard_lie_beside_each_other_and_explain_themselves():
    taken = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"], panel["title"]
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_alertmanager_accepts_its_configuration_and_wakes_people_for_what_is_critical_only():
    amtool, file = program("amtool"), str(DEPLOY / "alertmanager" / "alertmanager.yml")
    checked(amtool, "check-config", file)
    for severity, receiver in (("critical", "page"), ("warning", "ticket")):
        routed = checked(amtool, "config", "routes", "test", "--config.file", file, f"severity={severity}")
        assert routed.split() == [receiver]


def test_grafana_is_provisioned_with_the_data_source_that_the_dashboard_asks_for():
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))
    providers = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/saddle.yml").read_text(encoding="utf-8"))
    assert [source["type"] for source in sources["datasources"]] == ["prometheus"]
    assert providers["providers"][0]["options"]["path"] == "/var/lib/grafana/dashboards"
    asked = {panel["datasource"]["uid"] for panel in panels() if "datasource" in panel}
    assert asked == {"${datasource}"}
