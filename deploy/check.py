"""The part of deploy/check that reads files, and asks a running Hookline when it is given one."""

import json
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import xml.dom.minidom
from pathlib import Path

import yaml

METRIC = re.compile(r"\bhookline_[a-z0-9_]+")
PROBLEMS = []


def problem(where, what):
    PROBLEMS.append(f"{where}: {what}")


def family(name):
    """The metric that a sample of a histogram belongs to."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def families(text):
    return {family(name) for name in METRIC.findall(text)}


def parsed(path, parse):
    try:
        return parse(path.read_text())
    except Exception as error:
        problem(path, error)
        return None


def panels(dashboard):
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def check_promql(expressions):
    """promtool checks expressions only as rules, so they become some for a moment."""
    rules = [{"record": f"dashboard:{n}", "expr": expr} for n, (_, expr) in enumerate(expressions)]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}, file)
        file.flush()
        said = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True)
        if said.returncode:
            problem("dashboards", (said.stdout + said.stderr).strip())


def ask(url, body=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=30) as reply:
            return reply.read().decode()
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode()[:300]) from None


def main():
    yaml_files = [Path("docker-compose.yml"), *Path("deploy").rglob("*.yml")]
    trees = {path: parsed(path, yaml.safe_load) for path in yaml_files}
    for path in Path("deploy").rglob("*.xml"):
        parsed(path, xml.dom.minidom.parseString)
    dashboards = {path: parsed(path, json.loads) for path in Path("deploy/grafana/dashboards").glob("*.json")}

    # Every alert that wants a person has a runbook that is there.
    rules = Path("deploy/prometheus/rules/hookline.yml")
    for group in trees[rules]["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                runbook = rule["annotations"].get("runbook")
                if not runbook or not Path(runbook).exists():
                    problem(rules, f"{rule['alert']} has no runbook {runbook}")
                elif rule["alert"] not in Path(runbook).read_text():
                    problem(runbook, f"says nothing of {rule['alert']}")

    # Each alert fires in a test of its rule, and its runbook speaks of it.
    fired = set()
    for path in Path("deploy/prometheus/tests").glob("*.yml"):
        for test in trees[path]["tests"]:
            fired |= {case["alertname"] for case in test.get("alert_rule_test", []) if case["exp_alerts"]}
            samples = [sample["labels"] for case in test.get("promql_expr_test", []) for sample in case.get("exp_samples", [])]
            fired |= set(re.findall(r'alertname="(\w+)"', " ".join(samples)))
    for group in trees[rules]["groups"]:
        for rule in group["rules"]:
            if "alert" in rule and rule["alert"] not in fired:
                problem(rules, f"{rule['alert']} fires in no test under deploy/prometheus/tests")

    made = subprocess.run([sys.executable, "deploy/grafana/dashboards.py", "--check"], capture_output=True, text=True)
    if made.returncode:
        problem("deploy/grafana/dashboards", (made.stdout + made.stderr).strip())

    # What is mounted is there.
    for name, service in trees[Path("docker-compose.yml")]["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./") and not Path(source).exists():
                problem("docker-compose.yml", f"{name} mounts {source}, which is not there")

    expressions, queries = [], []
    for path, dashboard in dashboards.items():
        for panel in panels(dashboard or {"panels": []}):
            for target in panel.get("targets", []):
                if "expr" in target:
                    expressions.append((panel["title"], target["expr"].replace("$__rate_interval", "1m")))
                if "rawSql" in target:
                    queries.append((panel["title"], target["rawSql"]))
    check_promql(expressions)

    documented = families(Path("docs/metrics.md").read_text())
    recorded = {rule["record"] for group in trees[rules]["groups"] for rule in group["rules"] if "record" in rule}
    used = {"rules": rules.read_text(), **{f"panel {title!r}": expr for title, expr in expressions}}
    for where, text in used.items():
        for name in families(text) - documented:
            problem(where, f"{name} is not in docs/metrics.md")
        for bound in re.findall(r'le="(-?\d+)"', text):
            problem(where, f'le="{bound}" finds nothing in Prometheus 3, which writes {bound}.0: le=~"{bound}([.]0)?"')
        for name in set(re.findall(r"\bhookline:[a-z0-9_:]+", text)) - recorded:
            problem(where, f"{name} is not recorded")

    if len(sys.argv) > 1:
        served = families(ask(sys.argv[1].rstrip("/") + "/metrics"))
        # These have no series before the first of what they count, or without the section that they are about.
        late = {
            "hookline_alerts_total", "hookline_canary_failures_total", "hookline_canary_last_success_timestamp_seconds", "hookline_canary_measured_since_timestamp_seconds", "hookline_canary_seconds", "hookline_certificate_expires_timestamp_seconds", "hookline_clickhouse_shard_reached", "hookline_dead_letters_open", "hookline_group_member", "hookline_inhibited_starts", "hookline_lane_reopened_total", "hookline_messages_paused",
            "hookline_naming_issues_total", "hookline_over_quota_events_total", "hookline_position_disagreements_total", "hookline_quota_events_per_second",
            "hookline_reference_refused", "hookline_reference_timestamp_seconds", "hookline_registry_reached", "hookline_rule_passed_over_total", "hookline_secret_expires_timestamp_seconds",
            "hookline_shadow_alerts_total", "hookline_signals_passed_over_total", "hookline_spans_total", "hookline_stalled", "hookline_threads_stuck", "hookline_traced_events_total",
        }
        for name in documented - served - late:
            problem("docs/metrics.md", f"{name} is not served by {sys.argv[1]}")
        for name in served - documented:
            problem("docs/metrics.md", f"{name} is served and not documented")
    if len(sys.argv) > 2:
        for title, sql in queries:
            for macro, value in (("$__fromTime", "now() - INTERVAL 30 DAY"), ("$__toTime", "now()")):
                sql = sql.replace(macro, value)
            try:
                ask(sys.argv[2].rstrip("/") + "/?" + urllib.parse.urlencode({"database": "hookline"}), sql.encode())
            except RuntimeError as error:
                problem(f"panel {title!r}", error)

    for line in PROBLEMS:
        print(f"  {line}")
    asked = f", asked {len(queries)} queries" if len(sys.argv) > 2 else ""
    print(f"  {len(yaml_files)} YAML files, {len(dashboards)} dashboards with {len(expressions)} expressions{asked}")
    sys.exit(1 if PROBLEMS else 0)


main()
