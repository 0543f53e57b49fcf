"""Installs the chart on a real Kubernetes API server with a real etcd. There are no nodes and no controllers: nothing starts.

What is real: every field is read, defaulted and validated, admission refuses what the namespace forbids (`restricted`, enforced), and helm
installs, upgrades and removes. What is played here: the controllers. Each template of a pod is sent as the pod that they would make
from it, the Job of the hook is marked as done, and the pod of `helm test` as succeeded. No container runs.
"""

import json
import os
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import claims
import yaml

TOKEN = "of-this-run-only"
# Their definitions are in no Go module that is served, so these two take any `spec`; promtool reads the rules.
OPEN = {"ServiceMonitor": "servicemonitors", "PrometheusRule": "prometheusrules"}


class Refused(Exception):
    pass


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Cluster:
    def __init__(self, tools, scratch):
        self.tools, self.scratch, self.processes = tools, Path(scratch), []
        self.url = f"https://127.0.0.1:{free_port()}"
        # Its certificate is made at its start, for this machine only.
        self.unchecked = ssl._create_unverified_context()

    def start(self):
        etcd, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.run("etcd", self.tools / "venv/bin/etcd", "--data-dir", self.scratch / "etcd", "--listen-client-urls", etcd,
                 "--advertise-client-urls", etcd, "--listen-peer-urls", peer)
        key, tokens = self.scratch / "key.pem", self.scratch / "tokens.csv"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        tokens.write_text(f"{TOKEN},admin,1,system:masters\n")
        self.run("kube-apiserver", self.tools / "bin/kube-apiserver", "--etcd-servers", etcd, "--bind-address", "127.0.0.1",
                 "--secure-port", self.url.rsplit(":", 1)[1], "--cert-dir", self.scratch / "certificates", "--token-auth-file", tokens,
                 "--authorization-mode", "AlwaysAllow", "--service-cluster-ip-range", "10.0.0.0/24", "--service-account-issuer", "https://local",
                 "--service-account-key-file", key, "--service-account-signing-key-file", key)
        for _ in range(240):
            try:
                self.ask("GET", "/readyz")
                break
            except (Refused, OSError):
                time.sleep(0.5)
        else:
            raise RuntimeError("the API server did not get ready in two minutes")
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}],
            "users": [{"name": "here", "user": {"token": TOKEN}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
        }
        (self.scratch / "kubeconfig").write_text(yaml.safe_dump(config))

    def run(self, name, *command):
        log = (self.scratch / f"{name}.log").open("w")
        self.processes.append(subprocess.Popen([str(part) for part in command], stdout=log, stderr=log))

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    def ask(self, method, path, body=None, kind="application/json"):
        request = urllib.request.Request(self.url + path, method=method, data=json.dumps(body).encode() if body else None)
        request.add_header("Authorization", f"Bearer {TOKEN}")
        request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.unchecked) as reply:
                text = reply.read().decode()
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            raise Refused(f"{error.code} {json.loads(text).get('message', '') if text.startswith('{') else text}") from None
        return json.loads(text) if text.startswith("{") else text

    def helm(self, *arguments):
        return subprocess.run([str(self.tools / "bin/helm"), *map(str, arguments)], capture_output=True, text=True, check=False,
                              env={**os.environ, "KUBECONFIG": str(self.scratch / "kubeconfig")})

    def define_kinds(self):
        definitions = [yaml.safe_load((self.tools / "crds/scaledobjects.yaml").read_text())]
        for kind, plural in OPEN.items():
            schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
            definitions.append({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.monitoring.coreos.com"},
                "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                         "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}]},
            })
        for definition in definitions:
            self.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        self.ask("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "important"}, "value": 1000})
        for _ in range(60):
            found = self.ask("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]
            if all(any(each["type"] == "Established" and each["status"] == "True" for each in item["status"]["conditions"]) for item in found):
                return
            time.sleep(0.5)

    def namespace(self, name):
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        self.ask("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})

    def would_start(self, workload):
        self.ask("POST", f"/api/v1/namespaces/{workload['metadata']['namespace']}/pods?dryRun=All", claims.as_pod(workload))

    def workloads(self, namespace):
        for plural in ("deployments", "statefulsets"):
            yield from self.ask("GET", f"/apis/apps/v1/namespaces/{namespace}/{plural}")["items"]


class Controllers(threading.Thread):
    """Ends Jobs and the pods of tests as soon as they are there, after admission would have let their pods in."""

    def __init__(self, cluster, namespace):
        super().__init__(daemon=True)
        self.cluster, self.namespace, self.seen, self.refused, self.over = cluster, namespace, [], [], threading.Event()

    def run(self):
        while not self.over.wait(0.3):
            try:
                self.once()
            except (Refused, OSError) as error:
                self.refused.append(str(error))

    def once(self):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for job in self.cluster.ask("GET", f"/apis/batch/v1/namespaces/{self.namespace}/jobs")["items"]:
            if not job.get("status", {}).get("succeeded"):
                self.cluster.would_start(job)
                conditions = [{"type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": now} for kind in ("SuccessCriteriaMet", "Complete")]
                status = {"succeeded": 1, "startTime": now, "completionTime": now, "conditions": conditions,
                          "uncountedTerminatedPods": {}}
                self.end("/apis/batch/v1", "jobs", job, status)
        for pod in self.cluster.ask("GET", f"/api/v1/namespaces/{self.namespace}/pods")["items"]:
            if pod.get("status", {}).get("phase") != "Succeeded":
                self.end("/api/v1", "pods", pod, {"phase": "Succeeded"})

    def end(self, group, plural, resource, status):
        name = resource["metadata"]["name"]
        self.cluster.ask("PATCH", f"{group}/namespaces/{self.namespace}/{plural}/{name}/status", {"status": status}, "application/merge-patch+json")
        self.seen.append(name)


def broken_case(cluster, chart, values):
    namespace = values.stem.removesuffix("-values")
    cluster.namespace(namespace)
    controllers = Controllers(cluster, namespace)
    controllers.start()
    common = ("hookline", chart, "--namespace", namespace, "--values", values, "--timeout", "60s")
    upgraded = ("--set", "ingest.resources.limits.memory=1Gi", "--set-string", "files.note\\.txt=another configuration")
    for step, arguments in {
        "install": ("install", *common),
        "upgrade": ("upgrade", *common, *upgraded),
        "test": ("test", "hookline", "--namespace", namespace, "--timeout", "60s"),
    }.items():
        result = cluster.helm(*arguments)
        text = result.stdout + result.stderr
        if result.returncode or "would violate" in text or "unknown field" in text:
            yield f"{values.name}: helm {step}: {text.strip()}"
            controllers.over.set()
            return
        if step == "test":
            break
        found = list(cluster.workloads(namespace))
        for workload in found:
            try:
                cluster.would_start(workload)
            except Refused as error:
                yield f"{values.name}: the pod of {workload['metadata']['name']} is refused: {error}"
        if step == "install":
            before = {workload["metadata"]["name"]: workload["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for workload in found}
        for workload in found if step == "upgrade" else []:
            if workload["spec"]["template"]["metadata"]["annotations"]["checksum/config"] == before[workload["metadata"]["name"]]:
                yield f"{values.name}: {workload['metadata']['name']} does not restart with another configuration"
    # What the check is worth: the same pod with one right more is refused.
    rich = next(cluster.workloads(namespace))
    rich["spec"]["template"]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    try:
        cluster.would_start(rich)
        yield f"{values.name}: the namespace takes a pod that may gain rights, so this check shows nothing"
    except Refused as error:
        if "violates PodSecurity" not in str(error):
            yield f"{values.name}: a pod with more rights is refused for another reason: {error}"
    result = cluster.helm("uninstall", "hookline", "--namespace", namespace)
    controllers.over.set()
    if result.returncode or list(cluster.workloads(namespace)):
        yield f"{values.name}: helm uninstall: {result.stdout + result.stderr}"
    if sorted(set(controllers.seen)) != ["hookline-migrate", "hookline-test"]:
        yield f"{values.name}: the hooks that ran were {sorted(set(controllers.seen))}"
    yield from (f"{values.name}: a hook was refused: {what}" for what in set(controllers.refused))
    print(f"  API server: {namespace}: installed, upgraded, tested and removed; the pods of {len(found)} workloads admitted under restricted")


def broken(tools, chart, cases):
    missing = [name for name in ("bin/kube-apiserver", "venv/bin/etcd", "crds/scaledobjects.yaml") if not (tools / name).exists()]
    if missing:
        yield f"no {', '.join(missing)}: deploy/helm/tools --cluster installs them"
        return
    with tempfile.TemporaryDirectory() as scratch:
        cluster = Cluster(tools, scratch)
        try:
            cluster.start()
            cluster.define_kinds()
            for values in cases:
                yield from broken_case(cluster, chart, values)
        finally:
            cluster.stop()
