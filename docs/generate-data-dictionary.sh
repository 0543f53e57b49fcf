#!/usr/bin/env bash
# Writes docs/data-dictionary.md from the comments that ClickHouse holds: what the tables say of themselves.
#
#   docs/generate-data-dictionary.sh [CLICKHOUSE_URL]      of a running Hookline; http://127.0.0.1:8123 if left out
set -euo pipefail
cd "$(dirname "$0")"
url=${1:-http://127.0.0.1:8123}

ask() { curl --fail-with-body --silent --show-error --get "$url/" --data-urlencode "query=$1"; }

views="database = 'hookline' AND engine = 'View'"
tables="database = 'hookline' AND engine != 'View' AND name NOT LIKE '%\\_closed'"
# The order that readers need: events first, then reports, then what watches over them.
order="indexOf(['events','clicks','event_duplicates','dead_letters','where_is','campaign_channel_daily','link_hourly','qr_placement_daily',
  'affiliate_landing_daily','bio_launch_daily','daily_visitors','visitor_pace_daily','weekly_pack','monthly_pack','completeness','ledger','closed_days'], name) AS place"
pipe="replaceAll(comment, '|', '\\\\|')"

section() { # condition
  ask "SELECT name, $order FROM system.tables WHERE $1 ORDER BY place = 0, place, name FORMAT TSV" | cut -f1 | while read -r name; do
    printf '\n### `%s`\n\n' "$name"
    ask "SELECT comment FROM system.tables WHERE database = 'hookline' AND name = '$name' FORMAT TSVRaw"
    printf '\n| column | type | |\n|---|---|---|\n'
    ask "SELECT concat('| \`', name, '\` | \`', replaceAll(type, '|', '\\\\|'), '\` | ', $pipe, ' |') FROM system.columns
         WHERE database = 'hookline' AND table = '$name' ORDER BY position FORMAT TSVRaw"
  done
}

{
  cat <<'END'
# Data dictionary

Written by `docs/generate-data-dictionary.sh` from the comments in ClickHouse; change those (`crates/domain/event/src/link_event.rs`,
`crates/io/warehouse/src/`), not this file.

The database `hookline` holds what counts, `hookline_test` the same names for test data. All times are UTC. Nothing is `NULL`: `''` and 0
mean unknown. Analysts read the views; no view needs `FINAL`.

- `events` has every event once. `clicks` is the part that most questions are about: human clicks and scans.
- The reports are finished numbers by day. A day that is over is closed and kept for five years; a day that is not, or that got late events
  since, is computed from the rows at the moment of the question. So they agree with `events` at every moment.
- `completeness` says through when the numbers are whole. Quote it with them.
- A day is a day of UTC, in every report, whatever `timezone` the configuration has.
- Clicks and scans count by who came (`counted`). Leads and sales count whoever or whatever told of them, since a server program often does; their
  `counted` says who that was.
- `daily_visitors` is distinct within a day and a value only: never add it up. A visitor is known where the platform sends the address, and not for
  events that come more than two days late; `coverage` says of what share of the clicks. On another domain the same person is another visitor.

## Views
END
  section "$views"
  printf '\n## Tables\n\nWhat the views read. Their rows may change shape between versions.\n'
  section "$tables"
  cat <<'END'

### `<report>_closed`

One table for each report: its closed days, with the report's columns, `closed_records`, `closed_at` and `closed_definition`.
END
} > data-dictionary.md.new
mv data-dictionary.md.new data-dictionary.md
echo "wrote docs/data-dictionary.md: $(grep -c '^### ' data-dictionary.md) tables and views"
