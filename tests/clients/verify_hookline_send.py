"""Receivers that verify with the SDKs of others: what `hookline send` signs holds for each of them.

usage: verify_hookline_send.py HOOKLINE CONFIG COUNT, and on standard input {"SOURCE": {"kind": KIND, "secret": SECRET}, ...}
"""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import stripe
import svix.webhooks
from standardwebhooks.webhooks import Webhook

VERIFIERS = {
    "standardwebhooks": lambda secret, body, headers: Webhook(secret).verify(body, headers),
    "svix": lambda secret, body, headers: svix.webhooks.Webhook(secret).verify(body, headers),
    "stripe": lambda secret, body, headers: stripe.WebhookSignature.verify_header(
        body.decode(), headers["stripe-signature"], secret, 300
    ),
}

hookline, config, count = sys.argv[1:]
sources = json.load(sys.stdin)
verified, refused, lock = {name: 0 for name in sources}, [], threading.Lock()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        name = self.path.rsplit("/", 1)[1]
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {key.lower(): value for key, value in self.headers.items()}
        source = sources[name]
        try:
            VERIFIERS[source["kind"]](source["secret"], body, headers)
            with lock:
                verified[name] += 1
        except Exception as why:  # Whatever an SDK raises is a refusal.
            with lock:
                refused.append(f"{name}: {why!r}")
        answer = json.dumps({"status": "accepted", "events": 1, "quarantined": 0, "receipt": "req_1", "results": []}).encode()
        self.send_response(202)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
for name in sources:
    command = [hookline, "send", "--config", config, "--ingest", f"http://127.0.0.1:{server.server_port}"]
    subprocess.run([*command, "--source", name, "--count", count, "--json"], check=True, stdout=subprocess.DEVNULL)
assert not refused, refused[:3]
print(json.dumps(verified))
