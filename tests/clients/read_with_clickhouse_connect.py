"""An analyst who uses `clickhouse-connect`, as Superset and pandas do: reads everything, changes nothing.

usage: read_with_clickhouse_connect.py HOST PORT
"""

import json
import sys
from datetime import datetime

import clickhouse_connect
from clickhouse_connect.driver.exceptions import DatabaseError

host, port = sys.argv[1], int(sys.argv[2])
client = clickhouse_connect.get_client(host=host, port=port, username="analyst", database="hookline")

# Rows, with every type that the table has: names, times, maps, arrays, numbers.
rows = client.query(
    "SELECT outcome, type, event_time, received_at, country, extra, trace, value_minor, lane, raw_offset, event_key "
    "FROM records ORDER BY lane, raw_offset"
)
for outcome, _, event_time, received_at, _, extra, trace, value, *_ in rows.result_rows:
    assert outcome in ("event", "duplicate", "dead_letter"), outcome
    assert isinstance(event_time, datetime) and isinstance(received_at, datetime)
    assert isinstance(extra, dict) and isinstance(trace, list) and isinstance(value, int)

# The same rows as a stream of blocks, and a question with a parameter.
with client.query_row_block_stream("SELECT raw_offset FROM records") as blocks:
    streamed = sum(len(block) for block in blocks)
assert streamed == rows.row_count, (streamed, rows.row_count)
dub = client.query("SELECT count() FROM events WHERE source = {source:String}", parameters={"source": "dub"}).first_row[0]

# Reports are finished numbers: they agree with the rows they are made of.
clicks = client.query("SELECT sum(clicks) FROM campaign_channel_daily").first_row[0]
assert clicks == client.query("SELECT count() FROM clicks").first_row[0], clicks
missing = client.query("SELECT sum(missing), sum(repeated) FROM ledger").first_row
assert missing == (0, 0), missing

# Nothing that an analyst sends changes anything.
for statement in [
    "INSERT INTO records (source) VALUES ('forged')",
    "ALTER TABLE records DELETE WHERE 1",
    "TRUNCATE TABLE records",
    "DROP TABLE records",
    "DROP DATABASE hookline",
    "CREATE TABLE notes (n UInt8) ENGINE = MergeTree ORDER BY n",
    "SET readonly = 0",
]:
    try:
        client.command(statement)
    except DatabaseError:
        continue
    sys.exit(f"an analyst could: {statement}")
try:
    client.insert("records", [["forged"]], column_names=["source"])
except DatabaseError:
    pass
else:
    sys.exit("an analyst could insert")
assert client.query("SELECT count() FROM records").first_row[0] >= rows.row_count

print(json.dumps({"rows": rows.row_count, "dub": dub, "clicks": clicks, "last_key": rows.result_rows[-1][-1]}))
