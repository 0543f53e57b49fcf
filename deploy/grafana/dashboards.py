#!/usr/bin/env python3
"""Writes the dashboards of Hookline's metrics, one for each audience, into deploy/grafana/dashboards.

    deploy/grafana/dashboards.py            writes them
    deploy/grafana/dashboards.py --check    says which are not what this file makes

The reports' dashboard, hookline-reports.json, is written by hand. A panel here is a line: a title, what it is measured in, what it says, its queries.
"""

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "dashboards"
PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
CLICKHOUSE = {"type": "grafana-clickhouse-datasource", "uid": "clickhouse"}
RATE = "[$__rate_interval]"


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": []}


def number(title, unit, says, expr, bad=None, good=None):
    """One figure. `bad`: red from there on; `good`: green from there on, red below."""
    steps = [{"color": "green", "value": None}]
    if bad is not None:
        steps.append({"color": "red", "value": bad})
    if good is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": good}]
    return {
        "type": "stat", "title": title, "description": says, "datasource": PROMETHEUS, "width": 4, "height": 4,
        "fieldConfig": {"defaults": {"unit": unit, "noValue": "–", "thresholds": {"mode": "absolute", "steps": steps}}, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none"},
        "targets": [{"refId": "A", "datasource": PROMETHEUS, "expr": expr, "instant": True}],
    }


def lines(title, unit, says, **queries):
    """Lines over time. The name of a query is its legend; `by_LABEL` is the value of a label."""
    targets = []
    for index, (name, expr) in enumerate(queries.items()):
        labels = name.removeprefix("by_").split("_and_") if name.startswith("by_") else []
        legend = " ".join("{{" + label + "}}" for label in labels) or name.replace("_", " ")
        targets.append({"refId": chr(65 + index), "datasource": PROMETHEUS, "expr": expr, "legendFormat": legend})
    custom = {"lineWidth": 1, "fillOpacity": 5, "stacking": {"mode": "none"}, "showPoints": "never"}
    return {
        "type": "timeseries", "title": title, "description": says, "datasource": PROMETHEUS, "width": 8, "height": 8,
        "fieldConfig": {"defaults": {"unit": unit, "custom": custom, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": targets,
    }


def table(title, says, sql, width=12):
    target = {"refId": "A", "datasource": CLICKHOUSE, "editorType": "sql", "queryType": "table", "format": 1, "rawSql": sql}
    return {
        "type": "table", "title": title, "description": says, "datasource": CLICKHOUSE, "width": width, "height": 9,
        "fieldConfig": {"defaults": {"custom": {"filterable": True}}, "overrides": []}, "options": {"showHeader": True}, "targets": [target],
    }


def quantiles(metric, *parts, by="", where=""):
    """Lines p50, p99, … of a histogram."""
    labels = f"le, {by}" if by else "le"
    queries = {}
    for part in parts:
        name = f"p{part * 100:g}".replace(".", "_")
        queries[name] = f"histogram_quantile({part}, sum by ({labels}) (rate({metric}_bucket{where}{RATE})))"
    return queries


def placed(panels):
    """From left to right, then below: 24 columns, as Grafana counts."""
    x = y = tallest = 0
    for index, panel in enumerate(panels):
        width, height = panel.pop("width", 24), panel.pop("height", 1)
        if x + width > 24 or panel["type"] == "row":
            x, y, tallest = 0, y + tallest, 0
        yield {"id": index + 1, **panel, "gridPos": {"x": x, "y": y, "w": width, "h": height}}
        x, tallest = x + width, max(tallest, height)


def dashboard(uid, title, audience, panels, variables=()):
    links = [{"title": "Hookline", "type": "dashboards", "tags": ["hookline"], "asDropdown": True, "includeVars": False, "keepTime": True}]
    listed = [
        {"name": name, "type": "query", "datasource": PROMETHEUS, "query": {"query": f"label_values({metric}, {name})", "refId": name}, "refresh": 2,
         "includeAll": True, "allValue": ".*", "multi": True, "current": {"text": "All", "value": "$__all"}, "sort": 1}
        for name, metric in variables
    ]
    return {
        "uid": uid, "title": title, "description": audience, "tags": ["hookline"], "schemaVersion": 41, "version": 1, "editable": True,
        "graphTooltip": 1, "timezone": "utc", "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "templating": {"list": listed},
        "annotations": {"list": []}, "links": links, "panels": list(placed(panels)),
    }


VALID = 'outcome=~"accepted|quarantined|over_quota|unavailable"'
OURS = 'outcome=~"over_quota|unavailable"'
SOURCE = 'source=~"$source"'

OVERVIEW = [
    row("Is anything wrong?"),
    number("Pages", "short", "Alerts that want a person now. Their runbooks are in docs/runbooks.", 'count(ALERTS{alertstate="firing", severity="page"}) or vector(0)', bad=1),
    number("Tickets", "short", "Alerts for this week.", 'count(ALERTS{alertstate="firing", severity="ticket"}) or vector(0)', bad=1),
    number("Missing or doubled", "short", "The ledger: settled offsets of raw without a row, and rows beyond the first. 0, always.",
           "max(hookline_ledger_missing_records) + max(hookline_ledger_repeated_records)", bad=1),
    number("Lanes standing still", "short", "Lanes of any service that do not work now.", "sum(hookline_stalled) or vector(0)", bad=1),
    number("Rows are behind", "s", "Everything received before this age is a row.", "time() - max(hookline_complete_through_timestamp_seconds)", bad=300),
    number("Until Kafka deletes unread", "s", "Headroom before retention reaches something that was not read.", "min(hookline_retention_headroom_seconds)", good=86400),
    row("Objectives: what is left of the month's budget"),
    number("Ingest, 99.95 %", "percentunit", "Share of the refusals allowed in 30 days that was not used. Below 0: the objective is missed.",
           f"1 - (sum(increase(hookline_requests_total{{{OURS}}}[30d])) or vector(0)) / (sum(increase(hookline_requests_total{{{VALID}}}[30d])) > 0) / 0.0005", good=0),
    number("Acknowledgement, 99.9 %", "percentunit", "The same for acknowledgements that took over half a second.",
           '1 - (1 - sum(increase(hookline_ack_seconds_bucket{le="0.5"}[30d])) / (sum(increase(hookline_ack_seconds_count[30d])) > 0)) / 0.001', good=0),
    number("Freshness, 99 %", "percentunit", "The same for time in which rows came later than 5 s.", "1 - avg_over_time(hookline:freshness_bad[30d]) / 0.01", good=0),
    number("Refused, last hour", "percentunit", "Of what was ours to take.", "hookline:ingest_errors:ratio_rate1h", bad=0.0005),
    number("Late, last hour", "percentunit", "Share of the hour in which rows came later than 5 s.", "hookline:freshness_bad:ratio_1h", bad=0.01),
    number("End to end, 99 %", "percentunit", "The same for the canary's rows that came after 5 s or not at all.",
           '1 - (1 - sum(increase(hookline_canary_seconds_bucket{path="row", le=~"5([.]0)?"}[30d])) / (sum(increase(hookline_canary_seconds_count{path="row"}[30d]))'
           ' + (sum(increase(hookline_canary_failures_total{path="row"}[30d])) or vector(0)) > 0)) / 0.01', good=0),
    number("Configurations in use", "short", "More than one for long is a drift.", "count(count by (hash) (hookline_config_info))", bad=2),
    row("Flow"),
    lines("Events a second, hop by hop", "eps", "Acknowledged by ingest, decided by process, written by report. The three follow each other.",
          ingest=f"sum(rate(hookline_events_total{RATE}))", process=f"sum(rate(hookline_outcomes_total{RATE}))", report=f"sum(rate(hookline_rows_total{RATE}))"),
    lines("Lag in seconds", "s", "How far the slowest lane of each service is behind the clock.", by_service="max by (service) (hookline_lag_seconds)"),
    lines("From event to message", "s", "Waits for a bundle included.", **quantiles("hookline_delivery_seconds", 0.5, 0.99)),
    lines("The canary, p99", "s", "From the answer of ingest until its event is a row, and until its message is delivered.",
          by_path="histogram_quantile(0.99, sum by (le, path) (rate(hookline_canary_seconds_bucket[15m])))"),
    lines("The canary: since the last success", "s", "Over 300 s, end to end is broken.",
          by_path="time() - max by (path) (hookline_canary_last_success_timestamp_seconds > 0)"),
    lines("The canary: what did not come through", "short", "An hour, by reason.", by_path_and_reason="sum by (path, reason) (increase(hookline_canary_failures_total[1h])) > 0"),
    lines("CPU", "short", "Cores.", by_instance=f'rate(process_cpu_seconds_total{{job="hookline"}}{RATE})'),
    lines("Memory", "bytes", "Resident.", by_instance='process_resident_memory_bytes{job="hookline"}'),
    lines("Restarts an hour", "short", "Starts of processes.", by_instance='changes(process_start_time_seconds{job="hookline"}[1h])'),
]

EDGE = [
    row("Answers"),
    lines("Requests by answer", "reqps", "What senders were told.", by_outcome=f"sum by (outcome) (rate(hookline_requests_total{{{SOURCE}}}{RATE}))"),
    lines("Events a second by source", "eps", "Acknowledged by the in-sync replicas.", by_source=f"sum by (source) (rate(hookline_events_total{{{SOURCE}}}{RATE}))"),
    lines("Acknowledgement", "s", "From the request's arrival to its 202.", **quantiles("hookline_ack_seconds", 0.5, 0.99, 0.999)),
    row("Senders"),
    lines("Refusals in a row", "short", "Since the last 202. Platforms switch a webhook off after a run.", by_source=f"max by (source) (hookline_refusals_in_a_row{{{SOURCE}}})"),
    lines("Strikes left", "short", "Of the run that the platform bears, where that is known.",
          by_source=f"min by (source) (hookline_refusals_allowed{{{SOURCE}}} - on (source, instance) hookline_refusals_in_a_row{{{SOURCE}}})"),
    lines("Silent for", "s", "Since the last event.", by_source=f"time() - max by (source) (hookline_last_event_timestamp_seconds{{{SOURCE}}} > 0)"),
    lines("Not authentic, by reason", "reqps", "Why signatures were refused.", by_source_and_reason=f"sum by (source, reason) (rate(hookline_auth_failures_total{{{SOURCE}}}{RATE})) > 0"),
    lines("Secrets in use", "reqps", "An old one without uses can go.", by_source_and_secret_id=f"sum by (source, secret_id) (rate(hookline_secret_uses_total{{{SOURCE}}}{RATE}))"),
    lines("Secrets: until they end", "s", "Those with an `until`.",
          by_source_and_secret_id=f"min by (source, secret_id) (hookline_secret_expires_timestamp_seconds{{{SOURCE}}}) - time()"),
    lines("Clock skew, median", "s", "The sender's signed clock minus ours.",
          by_source=f"histogram_quantile(0.5, sum by (le, source) (rate(hookline_clock_skew_seconds_bucket{{{SOURCE}}}{RATE})))"),
    lines("Size of bodies, p99", "bytes", "Authentic ones, decompressed.",
          by_source=f"histogram_quantile(0.99, sum by (le, source) (rate(hookline_body_bytes_bucket{{{SOURCE}}}{RATE})))"),
    lines("Paused", "short", "1 while a person has paused it or put it into quarantine.", by_kind_and_id="max by (kind, id) (hookline_paused)"),
    row("Bounds"),
    lines("Share of the quota in use", "percentunit", "Sources with a quota.",
          by_source=f"sum by (source) (rate(hookline_events_total{{{SOURCE}}}{RATE})) / sum by (source) (hookline_quota_events_per_second{{{SOURCE}}})"),
    lines("Beyond the quota", "eps", "Refused, or accepted all the same.", by_source_and_answer=f"sum by (source, answer) (rate(hookline_over_quota_events_total{{{SOURCE}}}{RATE}))"),
    lines("Requests under way", "short", "They wait for their acknowledgement.", by_source=f"sum by (source) (hookline_in_flight_requests{{{SOURCE}}})"),
    lines("Memory that senders hold", "bytes", "Bodies, and records that wait for Kafka: half of `memory` each.",
          bodies="sum(hookline_buffered_bytes)", waiting="sum(hookline_waiting_bytes)"),
    lines("Connections", "short", "Of senders.", by_instance="sum by (instance) (hookline_open_connections)"),
    lines("Connections turned away", "cps", "Too many in all, from one address, or TLS that failed.", by_reason=f"sum by (reason) (rate(hookline_connections_refused_total{RATE}))"),
    lines("Silent partitions", "short", "Partitions of raw that do not acknowledge: requests for them are answered 503.", by_instance="sum by (instance) (hookline_silent_partitions)"),
]

PIPELINE = [
    row("Behind by"),
    lines("Lag in seconds", "s", "The slowest lane of each service.", by_service="max by (service) (hookline_lag_seconds)"),
    lines("Lag in records", "short", "Over all lanes.", by_service_and_topic="sum by (service, topic) (hookline_lag_records)"),
    lines("Until Kafka deletes unread", "s", "Headroom before retention.", by_service_and_topic="min by (service, topic) (hookline_retention_headroom_seconds)"),
    row("Work"),
    lines("Outcomes", "eps", "What became of records of raw.", by_outcome=f"sum by (outcome) (rate(hookline_outcomes_total{RATE}))"),
    lines("Share of duplicates by source", "percentunit", "Over an hour. Each counts once all the same.", by_source="hookline:duplicates:ratio_rate1h"),
    lines("How late duplicates come", "s", "From the first delivery.", **quantiles("hookline_duplicate_delay_seconds", 0.5, 0.99)),
    lines("Transactions, p99", "s", "From begin to commit of a lane's transaction.", by_service=f"histogram_quantile(0.99, sum by (le, service) (rate(hookline_transaction_seconds_bucket{RATE})))"),
    lines("Inserts into ClickHouse", "s", "A block.", **quantiles("hookline_insert_seconds", 0.5, 0.9, 0.99)),
    lines("Rows a second by table", "short", "Written by report.", by_table=f"sum by (table) (rate(hookline_rows_total{RATE}))"),
    lines("Rows a block", "short", "Few rows a block cost ClickHouse merges.", rows=f"sum(rate(hookline_rows_total{RATE})) / sum(rate(hookline_insert_seconds_count{RATE}))"),
    lines("Values that could not be read", "eps", "The event counts without them.", by_source_and_value=f"sum by (source, value) (rate(hookline_unreadable_values_total{RATE}))"),
    lines("Dead letters an hour", "short", "Records that are no event yet.", by_source='sum by (source) (increase(hookline_outcomes_total{outcome="dead_letter"}[1h]))'),
    row("Lanes and threads"),
    lines("Lanes by instance", "short", "Over all instances of a stage it is the number of its lanes.", by_service_and_instance="hookline_lanes_owned"),
    lines("Lanes standing still, by reason", "short", "`retry` and `fenced` go on by themselves.", by_service_and_reason="sum by (service, reason) (hookline_stalled) > 0"),
    lines("Lanes opened again", "short", "An hour. They were given nothing though there was something.", by_service="sum by (service) (increase(hookline_lane_reopened_total[1h]))"),
    lines("Threads without a sign of life", "short", "A restart helps.", by_instance_and_kind="hookline_threads_stuck"),
    lines("Positions not obeyed", "short", "An hour. Nothing to do: the lane's own log decides.", by_service="sum by (service) (increase(hookline_position_disagreements_total[1h]))"),
    lines("Clocks that were not believed", "short", "An hour.", by_clock="sum by (clock) (increase(hookline_clock_disagreements_total[1h]))"),
    lines("CPU", "short", "Cores.", by_instance=f'rate(process_cpu_seconds_total{{job="hookline"}}{RATE})'),
    lines("Memory", "bytes", "Resident.", by_instance='process_resident_memory_bytes{job="hookline"}'),
    lines("Open files", "percentunit", "Of those allowed.", by_instance='process_open_fds{job="hookline"} / process_max_fds{job="hookline"}'),
]

DETECTION = [
    row("Rules"),
    lines("Alerts of rules that count", "short", "An hour, by what happened to them.", by_rule_and_transition="sum by (rule, transition) (increase(hookline_alerts_total[1h]))"),
    lines("How far rules are behind", "s", "Rules are evaluated when every lane has passed their window.", seconds="max(hookline_watermark_delay_seconds)"),
    lines("Lanes left out", "short", "Ten minutes behind: rules do not wait for them.", lanes="max(hookline_lanes_left_out)"),
    lines("Signals passed over", "short", "An hour: too late, or for no rule.", by_reason="sum by (reason) (increase(hookline_signals_passed_over_total[1h]))"),
    lines("Rules that know as much as they may", "short", "Signals an hour that they passed over.", by_rule_and_reason="sum by (rule, reason) (increase(hookline_rule_passed_over_total[1h]))"),
    lines("What shadow rules would have raised", "short", "An hour.", by_rule="sum by (rule) (increase(hookline_shadow_alerts_total[1h]))"),
    lines("Noise by rule", "short", "Messages a day.", by_rule_and_outcome="sum by (rule, outcome) (increase(hookline_rule_messages_total[1d]))"),
    row("Messages"),
    lines("Messages an hour", "short", "By what became of them.", by_destination_and_outcome="sum by (destination, outcome) (increase(hookline_deliveries_total[1h]))"),
    lines("From event to message", "s", "Waits for a bundle included.", **quantiles("hookline_delivery_seconds", 0.5, 0.99)),
    lines("Oldest message that is owed", "s", "It is planned and kept.", by_destination="max by (destination) (hookline_oldest_pending_seconds)"),
    lines("Destinations left alone", "short", "They refuse or do not answer.", by_destination="max by (destination) (hookline_circuit_open)"),
    lines("Paused rules and destinations", "short", "By a person.", by_kind_and_id="max by (kind, id) (hookline_messages_paused)"),
    row("In words"),
    table("Alerts", "The last hundred.", "SELECT received_at, rule, owner, transition, key, observed, threshold, attributes FROM alerts WHERE received_at >= $__fromTime AND received_at <= $__toTime ORDER BY received_at DESC LIMIT 100", 24),
    table("Messages", "The last hundred, and why they failed.", "SELECT last_at, destination, owner, rule, `group`, stage, alerts, attempts, status, error FROM deliveries WHERE last_at >= $__fromTime AND last_at <= $__toTime ORDER BY last_at DESC LIMIT 100", 24),
    table("Noise of rules", "By week: what was sent, held back and acknowledged, and the share that was over within ten minutes.", "SELECT week, rule, alerts, messages, held_back, acknowledged, ended_soon_share FROM rule_noise WHERE week >= toMonday($__fromTime) AND week <= $__toTime ORDER BY week DESC, messages DESC"),
]

LEDGER = [
    row("Does it balance?"),
    number("Missing", "short", "Settled offsets of raw without a row. 0, always.", "max(hookline_ledger_missing_records)", bad=1),
    number("Repeated", "short", "Rows beyond the first of their offset. 0, always.", "max(hookline_ledger_repeated_records)", bad=1),
    number("Oldest record without a row", "s", "0 unless one waits for over a minute.", "max(hookline_ledger_waiting_seconds)", bad=60),
    number("Rows are behind", "s", "Everything received before this age is a row.", "time() - max(hookline_complete_through_timestamp_seconds)", bad=300),
    number("Days to close", "short", "Reports of whole days that are still computed from rows.", "max(hookline_reports_to_close)"),
    number("Dead letters open", "short", "Neither redriven nor discarded.", "sum(hookline_dead_letters_open) or vector(0)", bad=1),
    row("Over time"),
    lines("Missing and repeated", "short", "Both are lines at 0.", missing="max(hookline_ledger_missing_records)", repeated="max(hookline_ledger_repeated_records)"),
    lines("How far rows are behind", "s", "Age of the moment through which everything is a row.", behind="time() - max(hookline_complete_through_timestamp_seconds)"),
    lines("Dead letters open", "short", "By source and stage.", by_source_and_stage="sum by (source, stage) (hookline_dead_letters_open)"),
    row("In figures"),
    table("Ledger", "Lanes: records, expected, missing, repeated.", "SELECT * FROM ledger ORDER BY lane", 24),
    table("Completeness", "Through when each source's numbers can be quoted.",
          "SELECT source, complete_through, missing, last_seen, records, duplicates, dead_letters, round(late_share, 3) AS late_share FROM completeness ORDER BY source", 24),
    table("Dead letters by reason", "What could not be read.", "SELECT source, stage, reason, any(detail) AS detail, count() AS records, max(received_at) AS last FROM dead_letters WHERE received_at >= $__fromTime AND received_at <= $__toTime GROUP BY source, stage, reason ORDER BY records DESC LIMIT 50"),
    table("Written down as lost", "By a person, with a reason.", "SELECT * FROM lost_records LIMIT 100"),
    table("Closed days", "The last of each report.", "SELECT * FROM closed_days ORDER BY day DESC LIMIT 50"),
    table("Duplicates by source", "How late they came.", "SELECT source, count() AS duplicates, round(quantile(0.5)(duplicate_delay) / 1000, 1) AS median_s, round(max(duplicate_delay) / 1000, 1) AS longest_s FROM event_duplicates WHERE received_at >= $__fromTime AND received_at <= $__toTime GROUP BY source ORDER BY duplicates DESC"),
]

IN_TIME = "event_time >= $__fromTime AND event_time <= $__toTime"
LABELS = [
    row("Files and standards"),
    lines("Age of the files in force", "s", "Countries by when they were built, the catalogue by when it was written.", by_file="time() - max by (file) (hookline_reference_timestamp_seconds > 0)"),
    lines("Files refused", "short", "1 while the file at its place cannot be used.", by_file="max by (file) (hookline_reference_refused)"),
    lines("Breaks of the naming standard", "short", "Events an hour, by the owner of their link.", by_owner_and_issue="sum by (owner, issue) (increase(hookline_naming_issues_total[1h]))"),
    row("Who came"),
    table("Counted as", "Humans, bots, internal, test, and what decided it.", f"SELECT counted, counted_by, count() AS events, round(100 * events / sum(events) OVER (), 2) AS percent FROM events WHERE {IN_TIME} GROUP BY counted, counted_by ORDER BY events DESC LIMIT 50"),
    table("Channels", "An empty one is unknown: see docs/labels.md for what tells it.", f"SELECT channel, count() AS events, round(100 * events / sum(events) OVER (), 2) AS percent FROM events WHERE counted = 'human' AND {IN_TIME} GROUP BY channel ORDER BY events DESC"),
    table("Countries", "An empty one is unknown.", f"SELECT country, count() AS events, round(100 * events / sum(events) OVER (), 2) AS percent FROM events WHERE counted = 'human' AND {IN_TIME} GROUP BY country ORDER BY events DESC LIMIT 30"),
    table("Without a campaign", "Links whose events say none: candidates for the list of links.", f"SELECT domain, slug, source, count() AS events FROM events WHERE counted = 'human' AND campaign = '' AND {IN_TIME} GROUP BY domain, slug, source ORDER BY events DESC LIMIT 50"),
]

ALL = {
    "hookline.json": dashboard("hookline", "Hookline overview", "For everybody on call: is anything wrong, what is left of the budgets, does it flow.", OVERVIEW),
    "hookline-edge.json": dashboard("hookline-edge", "Hookline edge", "For those who talk with senders: answers, secrets, quotas, bounds.", EDGE, [("source", "hookline_requests_total")]),
    "hookline-pipeline.json": dashboard("hookline-pipeline", "Hookline pipeline", "For those who run it: lag, transactions, inserts, lanes, processes.", PIPELINE),
    "hookline-detection.json": dashboard("hookline-detection", "Hookline detection and delivery", "For owners of rules and destinations: alerts, messages, noise.", DETECTION),
    "hookline-ledger.json": dashboard("hookline-ledger", "Hookline ledger", "For those who quote the numbers: is every record there, once.", LEDGER),
    "hookline-labels.json": dashboard("hookline-labels", "Hookline labels", "For analysts: who came, from where, and how much of it is unknown.", LABELS),
}


def main():
    wrong = []
    for name, board in ALL.items():
        text = json.dumps(board, indent=1, ensure_ascii=False) + "\n"
        path = FOLDER / name
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            wrong.append(name)
    for name in wrong:
        print(f"  {name} is not what deploy/grafana/dashboards.py makes")
    sys.exit(1 if wrong else 0)


main()
