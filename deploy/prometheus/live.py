#!/usr/bin/env python3
"""Runs the rules and dashboards on a real `hookline up`, a real Prometheus and a real Alertmanager. Takes some five minutes.

    deploy/prometheus/live.py [--keep]     --keep prints the addresses and waits for Enter at the end

It starts everything on free ports in a folder of its own and removes it. What it shows:
1. Prometheus evaluates every rule, and answers every query of every dashboard; those without data are named.
2. ClickHouse answers every query of every dashboard (deploy/check.py).
3. The commands of docs/start.md, as they stand.
4. The watchdog reaches a receiver through Alertmanager. A source that is paused while its platform sends becomes the page
   SenderAboutToGiveUp, whose end arrives once the source is resumed. A Hookline that is gone becomes the page ServiceDown, and
   the alerts that this explains are held back.
"""

import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/hookline"
PROBLEMS = []
# Variables of Grafana, as a query for everything has them.
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$__interval": "15s", "$source": ".*", "$stage": ".*"}


def problem(what):
    PROBLEMS.append(what)
    print(f"  PROBLEM {what}")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def until(seconds, what, look):
    """What `look` returns once it is something, or a problem."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(1)
    problem(f"not within {seconds} s: {what}")
    return None


class Receiver:
    """Keeps what Alertmanager sends, by receiver."""

    def __init__(self):
        heard = self.heard = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in body["alerts"]:
                    heard.append((self.path.strip("/"), alert["labels"]["alertname"], alert["status"], alert))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def got(self, *wanted):
        return next((alert for *head, alert in self.heard if tuple(head) == wanted), None)


class Run:
    def __init__(self, folder):
        self.folder, self.processes, self.receiver = folder, [], Receiver()
        self.prometheus, self.alertmanager = free_port(), free_port()

    def spawn(self, name, *command, **more):
        log = (self.folder / f"{name}.log").open("w")
        process = subprocess.Popen([str(part) for part in command], stderr=log, **{"stdout": log, **more})
        self.processes.append(process)
        return process

    def end(self, process):
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()

    def hookline(self, *command, seconds=60):
        return subprocess.run([str(BINARY), *map(str, command), "--config", str(self.folder / "data/hookline.toml")],
                              capture_output=True, text=True, check=False, timeout=seconds)

    def start_hookline(self):
        self.up = self.spawn("up", BINARY, "up", "--json", "--data", self.folder / "data", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0",
                             "--console", "127.0.0.1:0", "--kafka-port", "0", "--clickhouse-port", "0", stdout=subprocess.PIPE)
        self.at = json.loads(self.up.stdout.readline() or "{}")

    def start_watchers(self):
        """With the repository's own files; only addresses and the times of one person's patience are others."""
        alertmanager = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text())
        for receiver in alertmanager["receivers"]:
            receiver["webhook_configs"] = [{"url": f"http://127.0.0.1:{self.receiver.server.server_port}/{receiver['name']}", "send_resolved": True}]
        for route in (alertmanager["route"], *alertmanager["route"]["routes"]):
            route |= {"group_wait": "1s", "group_interval": "5s"}
        prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
        prometheus["global"] = {"scrape_interval": "2s", "evaluation_interval": "5s"}
        prometheus["rule_files"] = [str(ROOT / "deploy/prometheus/rules/*.yml")]
        prometheus["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{self.alertmanager}"]}]
        address = self.at["metrics"].removeprefix("http://")
        prometheus["scrape_configs"][0]["static_configs"] = [{"targets": [address], "labels": {"stage": "up"}}]
        for name, content in (("alertmanager", alertmanager), ("prometheus", prometheus)):
            (self.folder / f"{name}.yml").write_text(yaml.safe_dump(content))
        alertmanager_binary = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
        self.spawn("alertmanager", alertmanager_binary, "--config.file", self.folder / "alertmanager.yml", "--storage.path", self.folder / "am",
                   "--web.listen-address", f"127.0.0.1:{self.alertmanager}", "--cluster.listen-address=")
        self.spawn("prometheus", "prometheus", "--config.file", self.folder / "prometheus.yml", "--storage.tsdb.path", self.folder / "tsdb",
                   "--web.listen-address", f"127.0.0.1:{self.prometheus}")

    def ask(self, path, **parameters):
        url = f"http://127.0.0.1:{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            problem(f"{parameters.get('query', path)}: {json.load(error).get('error')}")
        except OSError:
            pass
        return None

    def value(self, query):
        found = (self.ask("query", query=query) or {}).get("result")
        return float(found[0]["value"][1]) if found else None


def dashboards():
    for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                if "expr" in target:
                    expr = target["expr"]
                    for variable, everything in VARIABLES.items():
                        expr = expr.replace(variable, everything)
                    yield path.stem, panel["title"], expr


def check_queries(run):
    groups = run.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    for rule in rules:
        if rule["health"] != "ok":
            problem(f"rule {rule['name']}: {rule['health']} {rule.get('lastError', '')}")
    asked, silent = 0, []
    for board, panel, expr in dashboards():
        answer = run.ask("query", query=expr)
        asked += 1
        if answer is not None and not answer["result"]:
            silent.append(f"{board}: {panel}: {expr}")
    print(f"  Prometheus evaluates {len(rules)} rules and answered {asked} queries of dashboards; without data now ({len(silent)}):")
    for line in silent:
        print(f"    {line}")
    if len(silent) > asked / 4:
        problem("more than a quarter of the queries have no data")
    said = subprocess.run([sys.executable, "deploy/check.py", run.at["metrics"], run.at["clickhouse"]], cwd=ROOT, capture_output=True, text=True, check=False)
    print(said.stdout.rstrip())
    if said.returncode:
        problem(f"deploy/check.py: {said.stderr}")


def check_book(run):
    """docs/start.md, block by block as it stands, but for the first, which starts what runs here already."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/start.md").read_text(), re.S)[1:]
    script = "\n".join(["shopt -s expand_aliases", *blocks])
    for word, here in {"target/release/hookline": BINARY, "hookline-data": run.folder / "data", "http://127.0.0.1:8123": run.at["clickhouse"]}.items():
        script = script.replace(word, str(here))
    (run.folder / "start.sh").write_text(script.replace("\ncurl", "\nsleep 10\ncurl"))
    said = subprocess.run(["bash", run.folder / "start.sh"], cwd=run.folder, capture_output=True, text=True, check=False, timeout=300)
    text = said.stdout + said.stderr
    if "│ event" not in text or "wrong use" in text or "error:" in text or "Usage" not in text:
        problem(f"docs/start.md, as it stands: {text}")
    else:
        print(f"  docs/start.md: {len(blocks)} blocks of commands did what the page says")


def check_alerts(run):
    heard = run.receiver
    if until(60, "the watchdog arrives", lambda: heard.got("watchdog", "Watchdog", "firing")):
        print("  Watchdog: at its receiver")

    paused = run.hookline("pause", "source/dub", "--who", "live.py", "--why", "a drill", "--for", "10m")
    if not until(30, "the pause", lambda: run.value('max(hookline_paused{id="dub"})')):
        problem(f"hookline pause: {paused.stdout}{paused.stderr}")
    sender = run.spawn("sender", BINARY, "send", "--config", run.folder / "data/hookline.toml", "--ingest", run.at["ingest"], "--source", "dub", "--count", "500")
    page = until(180, "the page SenderAboutToGiveUp", lambda: heard.got("page", "SenderAboutToGiveUp", "firing"))
    run.end(sender)
    if page:
        print(f"  SenderAboutToGiveUp: paged: {page['annotations']['summary']} ({page['annotations']['runbook']})")
    run.hookline("resume", "source/dub", "--who", "live.py", "--why", "the drill is over")
    time.sleep(3)
    run.hookline("send", "--ingest", run.at["ingest"], "--source", "dub", "--count", "20")
    if page and until(90, "its end", lambda: heard.got("page", "SenderAboutToGiveUp", "resolved")):
        print("  SenderAboutToGiveUp: its end arrived")

    run.end(run.up)
    if until(200, "the page ServiceDown", lambda: heard.got("page", "ServiceDown", "firing")):
        print("  ServiceDown: paged")
    down = len(heard.heard)
    time.sleep(20)
    for receiver, name, status, _ in heard.heard[down:]:
        if name in ("FreshnessBurn", "SourceSilent") and status == "firing":
            problem(f"{name} arrived at {receiver}, which ServiceDown explains")
    others = sorted({name for _, name, status, _ in heard.heard if status == "firing"} - {"Watchdog", "SenderAboutToGiveUp", "ServiceDown"})
    print(f"  other alerts on the way, on a machine that is as busy as it is: {', '.join(others) or 'none'}")


def main():
    missing = [name for name in ("prometheus", "prometheus-alertmanager") if not shutil.which(name) and not shutil.which(name.removeprefix("prometheus-"))]
    if missing or not BINARY.exists():
        print(f"  SKIPPED, not here: {', '.join(missing) or BINARY}")
        sys.exit(1)
    folder = Path(tempfile.mkdtemp(prefix="hookline-live-"))
    run = Run(folder)
    try:
        run.start_hookline()
        if not run.at:  # a machine that is busy for long: Kafka did not answer in time, and up said so
            run.start_hookline()
        if not run.at:
            sys.exit((folder / "up.log").read_text()[-2000:])
        run.start_watchers()
        for arguments in (("dub", "--count", "2000"), ("canonical", "--count", "2000", "--duplicates", "5")):
            sent = run.hookline("send", "--ingest", run.at["ingest"], "--source", *arguments, seconds=180)
            if sent.returncode:
                problem(f"hookline send: {sent.stderr}")
        until(60, "all rows in ClickHouse", lambda: (run.value('sum(hookline_rows_total{table="records"})') or 0) >= 4000)
        run.hookline("send", "--ingest", run.at["ingest"], "--source", "dub", "--count", "200")
        time.sleep(12)
        check_queries(run)
        check_book(run)
        check_alerts(run)
        if "--keep" in sys.argv:
            input(f"{run.at} Prometheus {run.prometheus} Alertmanager {run.alertmanager}. Enter ends it. ")
    finally:
        for process in reversed(run.processes):
            if process.poll() is None:
                run.end(process)
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if PROBLEMS else 0)


main()
