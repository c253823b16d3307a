"""The alerts and the dashboard ask for metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.app import Application
from service.concurrency.breaker import Breaker
from service.events.held import Told
from service.telemetry.webhooks import WebhookMetrics
from tests.client import ApiClient
from tests.serving import ROOT

RULES = ROOT / "deploy" / "prometheus" / "ledgerd.rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "ledgerd.json"
GIVEN_BY_PROMETHEUS = {"job", "instance"}  # to each sample, when it scrapes
SELECTOR = re.compile(r"\b(up|ledgerd[_:][a-z0-9_:]+)(?:\{([^}]*)\})?")
LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\bby\s*\(([^)]*)\)")


def rules() -> list[dict[str, Any]]:
    """Every rule, those that record first."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> Iterator[dict[str, Any]]:
    """Every panel that shows something."""
    return (panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row")


def expressions() -> list[str]:
    """Every expression of PromQL in the two files."""
    return [rule["expr"] for rule in rules()] + [target["expr"] for panel in panels() for target in panel["targets"]]


@pytest.fixture
def labels(application: Application, api: ApiClient) -> dict[str, set[str]]:
    """The labels of each sample that /metrics tells after some traffic, by its name."""
    source, target = (api.account(min_balance=None)["id"] for _ in range(2))
    assert api.transfer(source, target, 5).status == 201
    assert api.transfer(source, source, 5).status == 422
    application.telemetry.metrics.watch_replica("one", SimpleNamespace(lag_s=0.0))
    application.telemetry.metrics.watch_breaker("one", Breaker(failures=1, window_s=1, open_s=1))
    application.telemetry.metrics.limiter_refused("one")
    found: dict[str, set[str]] = {"up": set()} | {rule["record"]: {"le"} for rule in rules() if "record" in rule}
    told = api.get("/metrics").body.decode() + WebhookMetrics(Told()).render().decode()  # the dispatcher tells its own
    for family in text_string_to_metric_families(told):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_what_they_ask_for_is_there(labels: dict[str, set[str]]) -> None:
    """Each metric, and each label of it by which they select or group."""
    asked = expressions()
    assert len(asked) > 40
    for expression in asked:
        selectors = SELECTOR.findall(expression)
        assert selectors, expression
        grouped = {label.strip() for group in GROUPING.findall(expression) for label in group.split(",")}
        there = set.union(GIVEN_BY_PROMETHEUS, *(labels.get(name, set()) for name, _ in selectors))
        assert grouped <= there, expression
        for name, matchers in selectors:
            assert name in labels, f"{name} in {expression}"
            assert set(LABEL.findall(matchers)) <= labels[name] | GIVEN_BY_PROMETHEUS, expression


def test_every_metric_is_documented(labels: dict[str, set[str]]) -> None:
    """docs/operations.md has a row for each, with its labels."""
    table = (ROOT / "docs" / "operations.md").read_text()
    for name, its in labels.items():
        if name.startswith("ledgerd_") and not name.endswith(("_bucket", "_count", "_created")):
            row = re.search(rf"^\| `{name.removesuffix('_sum')}` \|.*", table, re.MULTILINE)
            assert row is not None, name
            assert all(f"`{label}`" in row[0] for label in its - {"le"}), row[0]


def test_alerts_say_what_is_wrong() -> None:
    """Each has a name, a severity, and a summary that tells where; none has another's name."""
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({alert["alert"] for alert in alerts}) == len(alerts) >= 12
    for alert in alerts:
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert "$labels.instance" in alert["annotations"]["summary"]
        assert f"`{alert['alert']}`" in (ROOT / "docs" / "operations.md").read_text(), alert["alert"]


def test_the_dashboard_can_be_imported() -> None:
    """Each panel has an id of its own, a place on the grid, and asks the data source that the dashboard lets one choose."""
    board = json.loads(DASHBOARD.read_text())
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert {"datasource", "job", "instance"} == variables
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables | {"__rate_interval"}


def test_prometheus_takes_the_rules() -> None:
    """Its own checker says so, where there is one; `what_they_ask_for` is checked without it."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    done = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
