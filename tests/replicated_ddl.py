#!/usr/bin/env python3
"""Runs the statements that `hookline migrate` makes for a cluster with replicas against two nodes of ClickHouse's own code and a real
ZooKeeper, for as much of it as these nodes can do.

    cargo build -p hookline --bins && tests/replicated_ddl.py target/debug/hookline

Real: the statements, as the binary sends them; ClickHouse's parser, engines, settings and views (26.7, the library that `hookline up`
fetches, through tests/clickhouse_stand_in.py); ZooKeeper 3.9.5 (from Maven) and what the tables write there.
Stand-in: `ON CLUSTER`. The nodes have no queue of distributed statements, so this program sends each such statement to both nodes
without the clause.
Not run: everything that a replica does after its table was made. `clickhouse local` never starts the interserver listener, so
the tables stay read-only: no insert, no quorum, no fetch. An ALTER or INSERT that ClickHouse refuses for that reason alone (code 242: it
has been read, and has found its table) is answered here as if it had been done, and counted.
"""

import http.server
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLAUSE = b" ON CLUSTER main"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>hookline</groupId><artifactId>zookeeper</artifactId><version>1</version><packaging>pom</packaging><dependencies>
<dependency><groupId>org.apache.zookeeper</groupId><artifactId>zookeeper</artifactId><version>3.9.5</version></dependency>
<dependency><groupId>io.dropwizard.metrics</groupId><artifactId>metrics-core</artifactId><version>4.1.12.1</version></dependency>
<dependency><groupId>org.xerial.snappy</groupId><artifactId>snappy-java</artifactId><version>1.1.10.5</version></dependency>
<dependency><groupId>commons-cli</groupId><artifactId>commons-cli</artifactId><version>1.5.0</version></dependency>
</dependencies></project>"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, sql, user="operator"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", sql.encode(), {"X-ClickHouse-User": user, "X-ClickHouse-Key": "pw"})
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60).read().decode()


def until(what, condition, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if answer := condition():
                return answer
        except OSError:
            pass
        time.sleep(0.3)
    sys.exit(f"{what}: not within {seconds} s")


def zookeeper(folder, started):
    (folder / "pom.xml").write_text(POM)
    subprocess.run(["mvn", "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime"], cwd=folder, check=True)
    port = free_port()
    (folder / "zoo.cfg").write_text(f"tickTime=2000\ndataDir={folder}/zk\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n")
    log = open(folder / "zookeeper.log", "w")
    jars = f"{folder}/target/dependency/*"
    started.append(subprocess.Popen(
        ["java", "-Xmx128m", "-cp", jars, "org.apache.zookeeper.server.quorum.QuorumPeerMain", f"{folder}/zoo.cfg"], stdout=log, stderr=log,
    ))  # fmt: skip

    def is_there():
        with socket.create_connection(("127.0.0.1", port), 1):
            return True

    until("ZooKeeper listens", is_there)
    return port, jars


def node(folder, number, keeper, started):
    here = folder / f"node-{number}"
    here.mkdir()
    user = "<{0}><password>{1}</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></{0}>"
    users = "".join(user.format(name, pw) for name, pw in [("default", ""), ("operator", "pw"), ("hookline", "pw")])
    (here / "users.xml").write_text(
        f"<clickhouse><profiles><default></default></profiles><quotas><default></default></quotas><users>{users}</users></clickhouse>"
    )
    port = free_port()
    (here / "server.xml").write_text(f"""<clickhouse>
        <logger><level>warning</level><console>true</console></logger><timezone>UTC</timezone>
        <listen_host>127.0.0.1</listen_host><http_port>{port}</http_port>
        <path>{here}/data/</path><tmp_path>{here}/data/tmp/</tmp_path>
        <user_directories><users_xml><path>{here}/users.xml</path></users_xml></user_directories>
        <default_profile>default</default_profile><default_database>default</default_database>
        <zookeeper><node><host>127.0.0.1</host><port>{keeper}</port></node></zookeeper>
        <macros><shard>1</shard><replica>node-{number}</replica></macros>
        <default_replica_path>/clickhouse/tables/{{shard}}/{{database}}/{{table}}</default_replica_path>
        <default_replica_name>{{replica}}</default_replica_name>
        <remote_servers><main><shard><replica><host>127.0.0.1</host><port>9</port></replica></shard></main></remote_servers>
        <background_pool_size>2</background_pool_size><background_schedule_pool_size>8</background_schedule_pool_size>
        <merge_tree><number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
        <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
        <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
        </merge_tree></clickhouse>""")
    log = open(here / "log", "w")
    started.append(subprocess.Popen([ROOT / "tests/clickhouse_stand_in.py", "server", f"--config-file={here}/server.xml"], stdout=log, stderr=log))
    until(f"node {number} answers", lambda: ask(port, "SELECT 1"))
    return port


def on_cluster(nodes, statements, read_only):
    """An address of the cluster: statements ON CLUSTER go to both nodes, without the clause; the rest to the first."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            everywhere = CLAUSE in body
            if everywhere:
                statements.append(body.decode())
            for port in nodes if everywhere else nodes[:1]:
                kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length", "transfer-encoding")}
                # An INSERT would be tried again for minutes.
                path = self.path + ("&" if "?" in self.path else "?") + "insert_keeper_max_retries=0"
                request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body.replace(CLAUSE, b""), kept)
                try:
                    answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120)
                except urllib.error.HTTPError as error:
                    answer = error
                said, status = answer.read(), answer.status
                if b"Code: 242" in said and not body.lstrip().startswith(b"SELECT"):
                    # It was understood and found its table, which is read-only.
                    read_only.append(body)
                    said, status = b"", 200
                if status != 200:
                    break
            self.send_response(status)
            for name, value in answer.headers.items():
                if said and name.lower() in ("content-type", "content-encoding", "x-clickhouse-exception-code"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def main():
    binary = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/debug/hookline").resolve()
    folder, started = Path(tempfile.mkdtemp()), []
    try:
        keeper, jars = zookeeper(folder, started)
        nodes = [node(folder, number, keeper, started) for number in (1, 2)]
        statements, read_only = [], []
        port = on_cluster(nodes, statements, read_only)
        (folder / "secret").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        (folder / "password").write_text("pw")
        (folder / "hookline.toml").write_text(
            'version = 1\n[owner]\nme = { name = "Me" }\n[source.shop]\nadapter = "canonical"\nowner = "me"\n'
            'secrets = [{ id = "first", file = "secret" }]\n[kafka]\nbrokers = "localhost:1"\n'
            f'[clickhouse]\nurl = "http://127.0.0.1:{port}"\nuser = "hookline"\npassword = {{ file = "password" }}\ncluster = "main"\n'
        )
        done = subprocess.run([binary, "migrate", "--config", folder / "hookline.toml"], capture_output=True, text=True, check=False)
        made = [re.search(r"CREATE TABLE IF NOT EXISTS (\S+)", sql)[1] for sql in statements if sql.startswith("CREATE TABLE")]
        print(f"{len(statements)} statements ON CLUSTER, taken by both nodes: {len(made)} tables")
        print(f"{len(read_only)} times an ALTER or INSERT was refused by a table since that is read-only")
        problems = [] if done.returncode == 0 else [done.stderr.strip()]
        views = sum(sql.startswith("CREATE OR REPLACE VIEW") for sql in statements)
        for number, port in enumerate(nodes, 1):
            there = int(ask(port, "SELECT count() FROM system.tables WHERE database LIKE 'hookline%' AND engine = 'View'"))
            problems += [] if there == views > 0 else [f"node {number} has {there} of {views} views"]
            engines = dict(line.split("\t") for line in ask(port, "SELECT concat(database, '.', name), engine FROM system.tables WHERE database LIKE 'hookline%' FORMAT TSV").splitlines())
            tables = {name: engine for name, engine in engines.items() if name in made}
            print(f"node {number}: {len(tables)} tables, {sorted(set(tables.values()))}, {sum(engine == 'View' for engine in engines.values())} views")
            problems += [f"node {number} lacks {name}" for name in made if name not in engines]
            problems += [f"node {number}: {name} is {engine}" for name, engine in tables.items() if not engine.startswith("Replicated")]
            settings = ask(port, "SELECT engine_full FROM system.tables WHERE database = 'hookline' AND name = 'records'")
            problems += [] if "replicated_deduplication_window = 60000" in settings.replace("non_", "NON ") else [f"node {number}: {settings}"]
        for name in made:
            database, table = name.split(".")
            path = f"/clickhouse/tables/1/{database}/{table}/replicas"
            asked = ["java", "-cp", jars, "org.apache.zookeeper.ZooKeeperMain", "-server", f"127.0.0.1:{keeper}", "ls", path]
            if name in ("hookline.records", "hookline.lane_watermarks"):  # a JVM each: two of them will do
                done = subprocess.run(asked, capture_output=True, text=True, check=False)
                said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("[")]
                print(f"ZooKeeper, {path}: {said}")
                problems += [] if "[node-1, node-2]" in said else [f"ZooKeeper does not have both replicas of {name}"]
        for problem in problems:
            print(f"PROBLEM {problem}")
        print("Not run: inserts, quorum, fetches, ON CLUSTER itself" if not problems else f"everything is in {folder}")
        sys.exit(bool(problems))
    finally:
        for process in started:
            process.kill()
            process.wait()
        if not sys.exc_info()[1] or getattr(sys.exc_info()[1], "code", 1) == 0:
            shutil.rmtree(folder, ignore_errors=True)


main()
