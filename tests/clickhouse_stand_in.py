#!/usr/bin/env python3
"""Stands for the binary `clickhouse`, where none can be had: ClickHouse's own server code, from the library that `hookline up` fetches.

    HOOKLINE_CLICKHOUSE_BIN=tests/clickhouse_stand_in.py hookline up

It takes what `up` gives a server (`server --version`, `server --config-file FILE`) and runs the library's `clickhouse local` over the
same files, with ClickHouse's own HTTP listener (`SYSTEM START LISTEN HTTP`), and with its native one where the file has a `tcp_port`, for other
nodes of a cluster. What is ClickHouse's: the listeners, the accounts, the tables, Distributed tables, what a kill leaves. What is not: `clickhouse server` itself, its start, its logs and its end.

Three things differ from the files of `up`, because the command's own query is that of `default`: `default` may open the listener; a request
that gives no name, or that name, is answered as a user `nameless`, who is what `up` made of `default`; and a user `stand_in` ends that
query on SIGTERM, which is how `clickhouse local` is stopped without a loss.
"""

import ctypes
import os
import re
import secrets
import signal
import sys
import threading
import urllib.request
from pathlib import Path

# `clickhouse local` lives as long as its query; this one takes 31 years.
KEEPS_RUNNING = (
    "SELECT sleepEachRow(1) FROM numbers(1000000000) "
    "SETTINGS function_sleep_max_microseconds_per_block=0, max_block_size=1 FORMAT Null"
)

# Which user a request is. A rule that has a user refuses requests that sign in, so `default` is never had from outside:
# neither by its header nor by Basic authentication (in Base64). A user in the URL is not looked at.
RULES = """
    <http_handlers>
        <rule><url>/ping</url><methods>GET,HEAD</methods><handler><type>ping</type></handler></rule>
        <rule><headers><X-ClickHouse-User>regex:default</X-ClickHouse-User></headers>NAMELESS</rule>
        <rule><headers><X-ClickHouse-User>regex:.+</X-ClickHouse-User></headers>NAMED</rule>
        <rule><headers><Authorization>regex:(?i)basic +(?-i)ZGVmYXVsdD[opqr].*</Authorization></headers>NAMELESS</rule>
        <rule><headers><Authorization>regex:.+</Authorization></headers>NAMED</rule>
        <rule>NAMELESS</rule>
    </http_handlers>"""
HANDLER = "<handler><type>dynamic_query_handler</type><query_param_name>query</query_param_name>{}</handler>"


def library():
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get("HOOKLINE_CACHE") or Path(home) / "hookline")
    found = sorted(cache.glob("clickhouse-*/libchdb.so"))
    if not found:
        sys.exit(f"no clickhouse-*/libchdb.so in {cache}: `hookline up --engines-only` fetches it")
    return ctypes.CDLL(str(found[-1]))


def command_line(chdb, *arguments):
    """Runs `clickhouse local` with these arguments to its end: what it printed, and its error."""
    words = [word.encode() for word in ("clickhouse", *arguments)]
    chdb.chdb_query_cmdline.restype = ctypes.c_void_p
    result = chdb.chdb_query_cmdline(len(words), (ctypes.c_char_p * len(words))(*words))
    if not result:
        return None, "it gave no answer"
    for name, kind in ("error", ctypes.c_char_p), ("length", ctypes.c_size_t), ("buffer", ctypes.c_void_p):
        function = getattr(chdb, f"chdb_result_{name}")
        function.restype, function.argtypes = kind, [ctypes.c_void_p]
    if error := chdb.chdb_result_error(result):
        return None, error.decode(errors="replace")
    length = chdb.chdb_result_length(result)
    return ctypes.string_at(chdb.chdb_result_buffer(result), length).decode() if length else "", None


def version(chdb):
    said, error = command_line(chdb, "--query", "SELECT version() FORMAT TSVRaw")
    if error:
        sys.exit(error)
    print(f"ClickHouse server version {said.strip()} (stand-in: clickhouse local).")


def of(text, name):
    return re.search(f"<{name}>(.*?)</{name}>", text, re.DOTALL)[1]


def write(path, text):
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def serve(chdb, config):
    text = config.read_text()
    data = Path(of(text, "path"))
    users = Path(re.search(r"<users_xml>\s*<path>(.*?)</path>", text, re.DOTALL)[1])
    address, port = of(text, "listen_host"), of(text, "http_port")
    # HTTP last: who is answered there may rely on the other one.
    listens = "SYSTEM START LISTEN TCP; " if "<tcp_port>" in text else ""
    password = secrets.token_hex(16)

    folder = data / "stand-in"
    folder.mkdir(parents=True, exist_ok=True)
    named, nameless = HANDLER.format(""), HANDLER.format("<user>nameless</user>")
    rules = RULES.replace("NAMELESS", nameless).replace("NAMED", named)
    text = text.replace(str(users), str(folder / users.name)).replace("</clickhouse>", f"{rules}\n</clickhouse>")
    write(folder / config.name, text)
    accounts = users.read_text()
    users_of = accounts.index("<users>")
    default = of(accounts[users_of:], "default")
    opens = "<password/><profile>default</profile><grants><query>GRANT SYSTEM LISTEN ON *.*</query></grants>"
    ends = (
        f"<stand_in><password>{password}</password><profile>default</profile><grants><query>GRANT KILL QUERY ON *.*</query>"
        "<query>GRANT SELECT ON system.processes</query></grants></stand_in>"
    )
    instead = f"<nameless>{default}</nameless><default>{opens}</default>{ends}"
    changed = accounts[users_of:].replace(f"<default>{default}</default>", instead)
    write(folder / users.name, accounts[:users_of] + changed)

    def stop():
        ask = "KILL QUERY WHERE query LIKE 'SELECT sleepEachRow(1) FROM numbers(1000000000)%' ASYNC"
        login = {"X-ClickHouse-User": "stand_in", "X-ClickHouse-Key": password}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(urllib.request.Request(f"http://{address}:{port}/", ask.encode(), login), timeout=5).read()

    def run():
        ended.append(command_line(
            chdb, "--path", str(data), "--config-file", str(folder / config.name), "--log-level", "warning",
            "--query", f"{listens}SYSTEM START LISTEN HTTP; {KEEPS_RUNNING}",
        ))  # fmt: skip
        os.kill(os.getpid(), signal.SIGUSR1)

    ended = []
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    threading.Thread(target=run, daemon=True).start()
    if signal.sigwait([signal.SIGTERM, signal.SIGUSR1]) == signal.SIGTERM:
        try:
            stop()
        except OSError as error:
            sys.exit(f"<Error> the query that keeps clickhouse local running cannot be ended: {error}")
        signal.sigwait([signal.SIGUSR1])
        os._exit(0)  # as the library's own exit handlers may fail
    print(f"<Error> clickhouse local ended: {ended[0][1]}", file=sys.stderr, flush=True)
    os._exit(1)


def main():
    words = sys.argv[1:]
    if words == ["server", "--version"]:
        version(library())
    elif words[:1] == ["server"] and len(words) == 2 and words[1].startswith("--config-file="):
        serve(library(), Path(words[1].removeprefix("--config-file=")))
    else:
        sys.exit(f"this stand-in takes `server --version` and `server --config-file=FILE`, not {words}")


main()
