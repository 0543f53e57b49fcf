#!/usr/bin/env bash
# Time to ready and memory of `hookline up`: what docs/benchmarks.md shows.
#
#   docs/measure.sh target/release/hookline [ROUNDS]
set -euo pipefail
hookline=$(realpath "${1:?the binary to measure}")
rounds=${2:-3}
folder=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
pid=
export HOOKLINE_CLICKHOUSE_BIN= # not the one that happens to be on PATH

now() { date +%s%N; }

start() { # what is measured
  local begun
  : > "$folder/addresses"
  begun=$(now)
  "$hookline" up --json --data "$folder/data" --kafka-port 0 --clickhouse-port 0 --listen 127.0.0.1:0 --metrics 127.0.0.1:0 \
    > "$folder/addresses" 2> "$folder/log" < /dev/null &
  pid=$!
  until [ -s "$folder/addresses" ]; do
    kill -0 "$pid" || { tail -n 3 "$folder/log"; exit 1; }
    sleep 0.01
  done
  echo "$1: $((($(now) - begun) / 1000000)) ms to ready (load $(cut -d' ' -f1 /proc/loadavg))"
}

end() { kill "-$1" "$pid"; wait "$pid" 2>/dev/null || true; }

memory() {
  echo "$1, resident MB:"
  ps -o rss=,comm= --pid "$pid" --ppid "$pid" | awk '{ printf "  %4d  %s\n", $1 / 1024, $2 }'
}

for round in $(seq "$rounds"); do
  rm -rf "$folder/data"
  start "fresh folder"; end TERM
  start "stopped before"; end KILL
  start "killed before"
  if [ "$round" = "$rounds" ]; then
    sleep 20
    memory idle
    ingest=$(sed 's/.*"ingest":"\([^"]*\)".*/\1/' "$folder/addresses")
    "$hookline" send --config "$folder/data/hookline.toml" --ingest "$ingest" --source dub --count 20000 --parallel 64 --json
    sleep 5
    memory "after 20,000 events"
    begun=$(now)
    end TERM
    echo "SIGTERM to the end: $((($(now) - begun) / 1000000)) ms"
  else
    end TERM
  fi
done
