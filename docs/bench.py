#!/usr/bin/env python3
"""Measures what Hookline costs, and writes the figures into docs/benchmarks.md.

    just bench                     all of it, on a machine that does nothing else: about an hour
    just bench per_event lanes     some of it
    just bench --list              what there is
    just bench --print routes      shows the figures and writes nothing

Each set of figures stands between two markers of docs/benchmarks.md, with the command, the day, the commit, the machine and
its load before and after. Nothing between the markers is written by hand; what the figures mean stands around them.
"""

import argparse
import contextlib
import datetime
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/benchmarks.md"

# The name of a set, its command, and minutes on two quiet cores.
SETS = {
    "starting": ("docs/measure.sh target/release/hookline", 2),
    "per_event": ("target/release/examples/per_event 200000 256", 4),
    "latency_1000": ("target/release/examples/latency 1000 60", 3),
    "latency_5000": ("target/release/examples/latency 5000 60", 3),
    "lanes": ("target/release/examples/curve 60000 lanes", 5),
    "instances": ("target/release/examples/curve 60000 instances", 4),
    "size": ("target/release/examples/curve 60000 size", 4),
    "batch": ("target/release/examples/curve 60000 batch", 4),
    "duplicates": ("target/release/examples/curve 60000 duplicates", 3),
    "rules": ("target/release/examples/curve 60000 rules", 3),
    "links": ("target/release/examples/curve 60000 links", 4),
    "replicas": ("target/release/examples/curve 60000 replicas", 4),
    "reading": ("target/release/examples/read_bench", 1),
    "routes": ("target/release/examples/routes_cost", 1),
    "labels": ("target/release/examples/labels_cost {agents}", 1),
    "catalogue": ("target/release/examples/catalogue_cost", 1),
    "signals": ("target/release/examples/signals_cost", 1),
    "traces": ("target/release/examples/cost", 1),
    "analysts": ("target/release/examples/rows 20000000 365", 12),
    "window": ("target/release/examples/window_bench 10_000_000", 3),
}
BUILD = "cargo build --release --workspace --bins --examples"


def said(command):
    return subprocess.run(command, shell=True, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    name = model.group(1).strip() if model else platform.machine()
    return f"{os.cpu_count()} cores of {name}, {round(int(memory.group(1)) / 1e6)} GB"


def commit():
    changed = said("git status --porcelain -- crates Cargo.toml Cargo.lock")
    return said("git rev-parse --short=8 HEAD") + (" with changes" if changed else "")


def agents():
    """A file of user agents of browsers, a line each: of the lists that measure the labels."""
    return pathlib.Path(said("tests/labels --fetch")) / "browsers.txt"


def measure(name):
    command, minutes = SETS[name]
    shown = command.replace("{agents}", "AGENTS.txt")
    if "{agents}" in command:
        command = command.replace("{agents}", str(agents()))
    before, begun = os.getloadavg()[0], time.time()
    # With all that it starts: engines and services of a set that hangs or fails end with it.
    run = subprocess.Popen(command, shell=True, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        figures = run.communicate(timeout=5 * 60 * minutes)[0].strip()
    except subprocess.TimeoutExpired:
        sys.exit(f"bench: {name} has not ended within {5 * minutes} minutes: {shown}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    if run.returncode != 0:
        sys.exit(f"bench: {name} ended with {run.returncode}: {shown}")
    if "|---" not in figures:
        figures = f"```\n{figures}\n```"
    load = f"load {before:.1f} before it, {os.getloadavg()[0]:.1f} after"
    when = f"{datetime.date.today():%d %B %Y}".lstrip("0")
    return (f"`{shown}`\n\n{figures}\n\nMeasured on {when} at {commit()}: {machine()}; {load}; "
            f"{round(time.time() - begun)} s.")


def put(name, figures):
    """Writes a set between its markers."""
    page = PAGE.read_text()
    begin, end = f"<!-- figures: {name} -->", f"<!-- end: {name} -->"
    if begin not in page or end not in page:
        sys.exit(f"bench: docs/benchmarks.md has no place for {name}: {begin} and {end}, where it is told what it means")
    PAGE.write_text(page[:page.index(begin)] + f"{begin}\n{figures}\n{end}" + page[page.index(end) + len(end):])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help="what to measure; all when left out")
    parser.add_argument("--list", action="store_true", help="say what there is, and how long it takes")
    parser.add_argument("--print", action="store_true", dest="show", help="show the figures, write nothing")
    options = parser.parse_args()
    if options.list:
        for name, (command, minutes) in SETS.items():
            print(f"{name:14} about {minutes} min  {command}")
        return
    unknown = [name for name in options.sets if name not in SETS]
    if unknown:
        sys.exit(f"bench: unknown: {', '.join(unknown)}; `just bench --list` says what there is")
    print(f"bench: {BUILD}", file=sys.stderr)
    subprocess.run(BUILD, shell=True, cwd=ROOT, check=True)
    for name in options.sets or SETS:
        print(f"bench: {name}, about {SETS[name][1]} min", file=sys.stderr)
        figures = measure(name)
        print(figures + "\n", flush=True)
        if not options.show:
            put(name, figures)


if __name__ == "__main__":
    main()
