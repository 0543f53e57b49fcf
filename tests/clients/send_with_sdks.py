"""Platforms that sign with the SDKs of others, unmodified, and know of Hookline only what docs/senders.md says.

Each request that an SDK makes is accepted. Each damaged form of it is refused with 401, whatever the damage.

usage: send_with_sdks.py INGEST_URL, and on standard input {"SOURCE": {"kind": KIND, "secret": SECRET}, ...}
       KIND: standardwebhooks, svix, stripe, cloudevents or cloudevents-binary
"""

import hashlib
import hmac
import json
import sys
import time
import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import stripe
import svix.webhooks
from cloudevents.core.bindings import http as cloudevents_http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from delivery import Request, Wire, altered, mutations
from standardwebhooks.webhooks import Webhook

TOLERANCE = timedelta(minutes=5)


def event(**more):
    """An event in the canonical format."""
    return {
        "id": uuid.uuid4().hex,
        "type": "click",
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "link": {"id": "l_77", "domain": "go.acme.example", "slug": "caf\u00e9"},
        "campaign": "2026q4-de-spring",
    } | more


def standard(prefix, library):
    """A platform that signs with `standardwebhooks` or `svix`."""
    names = [f"{prefix}-{part}" for part in ("id", "timestamp", "signature")]

    def sign(url, secret, body, at=None, headers=(("content-type", "application/json"),)):
        at, message_id = at or datetime.now(timezone.utc), f"msg_{uuid.uuid4().hex}"
        signature = library(secret).sign(message_id, at, body.decode())
        proof = zip(names, [message_id, str(int(at.timestamp())), signature])
        return Request(url, (*headers, *proof), body)

    return names, sign


def of_stripe():
    """A platform that signs as Stripe does, by the generator that its SDK has for tests."""

    def sign(url, secret, body, at=None, headers=(("content-type", "application/json"),)):
        at = int((at or datetime.now(timezone.utc)).timestamp())
        signature = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at)
        return Request(url, (*headers, ("stripe-signature", signature)), body)

    return ["stripe-signature"], sign


ATTRIBUTES = ["ce-id", "ce-source", "ce-type", "ce-time"]


def of_attributes_and_body():
    """A platform that sends binary mode and signs what makes the event: four attributes, a line each, and the body."""

    def sign(url, secret, body, headers=()):
        signed = Request(url, headers, body)
        lines = b"".join(signed.header(name).encode() + b"\n" for name in ATTRIBUTES)
        signature = hmac.new(secret.encode(), lines + body, hashlib.sha256).hexdigest()
        return Request(url, (*headers, ("x-acme-signature", signature)), body)

    return [*ATTRIBUTES, "x-acme-signature"], sign


class Platform:
    """One source, its secret and how its SDK signs; counts what it was answered."""

    def __init__(self, ingest, name, kind, secret):
        self.name, self.secret, self.wire = name, secret, Wire(ingest)
        self.url = f"{ingest}/v1/webhooks/{name}"
        self.proof, self.signer = {
            "standardwebhooks": lambda: standard("webhook", Webhook),
            "cloudevents": lambda: standard("webhook", Webhook),
            "cloudevents-binary": of_attributes_and_body,
            "svix": lambda: standard("svix", svix.webhooks.Webhook),
            "stripe": of_stripe,
        }[kind]()
        self.receipts, self.keys, self.refused, self.quarantined = [], [], 0, 0

    def sign(self, body, secret=None, **more):
        return self.signer(self.url, secret or self.secret, body, **more)

    def accepted(self, what, request, keys):
        status, _, answer = self.wire.send(request)
        assert status == 202 and answer["status"] == "accepted", f"{self.name}, {what}: {status} {answer}"
        assert (answer["events"], answer["quarantined"]) == (len(keys), 0), f"{self.name}, {what}: {answer}"
        self.receipts.append(answer["receipt"])
        self.keys += keys

    def set_aside(self, what, request, reason):
        status, _, answer = self.wire.send(request)
        assert (status, answer["status"]) == (202, "quarantined"), f"{self.name}, {what}: {status} {answer}"
        assert answer["results"][0]["reason"] == reason, f"{self.name}, {what}: {answer}"
        self.quarantined += 1

    def refuses(self, what, request):
        status, headers, answer = self.wire.send(request)
        assert status == 401, f"{self.name}, {what}: {status} {answer}"
        assert headers["content-type"] == "application/problem+json", f"{self.name}, {what}: {headers}"
        # The sender is never told which part was wrong: that would help whoever forges it.
        told = {key: value for key, value in answer.items() if key != "receipt"}
        assert told == self.told, f"{self.name}, {what}: {told}"
        self.refused += 1

    def one_of_each(self, body, keys, headers):
        """What the SDK signs is taken, and no damaged form of it is."""
        request = self.sign(body, headers=headers)
        unsigned = replace(request, headers=tuple(h for h in request.headers if h[0] not in self.proof))
        _, _, told = self.wire.send(unsigned)
        self.told = {key: value for key, value in told.items() if key != "receipt"}
        self.refused += 1
        for what, damaged in mutations(request, self.proof):
            self.refuses(what, damaged)
        # The damage was refused because it was damage: the request itself is still good.
        self.accepted("what the SDK signed", request, keys)

    def clocks_and_secrets(self, other_secret):
        now = datetime.now(timezone.utc)
        for what, shift in [
            ("a signature of five minutes ago", -TOLERANCE - timedelta(seconds=10)),
            ("a signature of an hour ago", -timedelta(hours=1)),
            ("a signature of a year ago", -timedelta(days=365)),
            ("a signature of five minutes ahead", TOLERANCE + timedelta(seconds=60)),
            ("a signature of a year ahead", timedelta(days=365)),
        ]:
            self.refuses(what, self.sign(json.dumps(event()).encode(), at=now + shift))
        for what, shift in [("a clock four minutes slow", -4), ("a clock four minutes fast", 4)]:
            new = event()
            request = self.sign(json.dumps(new).encode(), at=now + timedelta(minutes=shift))
            self.accepted(what, request, [new["id"]])
        body = json.dumps(event()).encode()
        self.refuses("another secret", self.sign(body, secret=other_secret))
        self.refuses("a secret with one character altered", self.sign(body, secret=self.secret[:9] + altered(self.secret[9]) + self.secret[10:]))
        one, another = self.sign(body), self.sign(json.dumps(event()).encode())
        self.refuses("the proof of another message", replace(one, body=another.body))

    def replayed(self):
        """The same bytes again, as a retry or as a replay: taken, and counted once."""
        new = event()
        request = self.sign(json.dumps(new).encode())
        for _ in range(3):
            self.accepted("a replay within the tolerance", request, [new["id"]])

    def rotated(self, other_secret):
        """Two secrets are live at the sender: it lists both signatures, and either is enough."""
        new, name = event(), self.proof[-1]
        body, at = json.dumps(new).encode(), datetime.now(timezone.utc)
        good = self.sign(body, at=at)
        forged = self.sign(body, secret=other_secret, at=at).header(name)
        join = (lambda a, b: f"{a},{b.split(',')[1]}") if name == "stripe-signature" else (lambda a, b: f"{a} {b}")
        for listed in [join(good.header(name), forged), join(forged, good.header(name))]:
            self.accepted("signatures of two secrets", good.with_header(name, listed), [new["id"]])


JSON = (("content-type", "application/json"),)


def cloud_event(**attributes):
    """An event in the canonical format as a CloudEvent: id and time are the envelope's."""
    data = event()
    given = {"id": data.pop("id"), "source": "/acme/links", "type": "com.acme.click", "datacontenttype": "application/json"}
    given |= {"time": datetime.fromisoformat(data.pop("time"))} | attributes
    del data["type"]
    made = CloudEvent(attributes=given, data=data)
    return made, f"{given['source']} {given['id']}"


def in_binary_mode():
    made, key = cloud_event()
    return cloudevents_http.to_binary(made, JSONFormat()), key


def of_cloudevents(platform):
    structured, key = cloud_event()
    message = cloudevents_http.to_structured(structured, JSONFormat())
    platform.one_of_each(message.body, [key], tuple(message.headers.items()))

    # In binary mode the attributes travel in headers, which Standard Webhooks does not sign: nothing of it counts as an event,
    # neither as the SDK sends it nor with another id.
    message, _ = in_binary_mode()
    request = platform.sign(message.body, headers=tuple(message.headers.items()))
    platform.set_aside("binary mode", request, "unsigned_attributes")
    platform.set_aside("binary mode with another id", request.with_header("ce-id", "forged"), "unsigned_attributes")

    # The SDK has no batches of its own: a batch is an array of what it writes.
    batch = [cloud_event() for _ in range(5)]
    body = b"[" + b",".join(JSONFormat().write(made) for made, _ in batch) + b"]"
    headers = (("content-type", "application/cloudevents-batch+json"),)
    platform.one_of_each(body, [key for _, key in batch], headers)


def main():
    ingest, sources = sys.argv[1], json.load(sys.stdin)
    report = {}
    for name, source in sources.items():
        platform = Platform(ingest, name, source["kind"], source["secret"])
        others = [other["secret"] for other_name, other in sources.items() if other_name != name]
        if source["kind"] == "cloudevents":
            of_cloudevents(platform)
        elif source["kind"] == "cloudevents-binary":
            message, key = in_binary_mode()
            platform.one_of_each(message.body, [key], tuple(message.headers.items()))
        else:
            new = event()
            platform.one_of_each(json.dumps(new, ensure_ascii=False).encode(), [new["id"]], JSON)
            platform.clocks_and_secrets(others[0])
            platform.replayed()
            platform.rotated(others[0])
        for what, other in sources.items():
            if what != name:  # A request that is right for another source is wrong here.
                headers = tuple(in_binary_mode()[0].headers.items()) if other["kind"] == "cloudevents-binary" else JSON
                stranger = Platform(ingest, what, other["kind"], other["secret"]).sign(json.dumps(event()).encode(), headers=headers)
                platform.refuses(f"a request for {what}", replace(stranger, url=platform.url))
        report[name] = {"receipts": platform.receipts, "keys": platform.keys, "refused": platform.refused, "quarantined": platform.quarantined}
    print(json.dumps(report))


if __name__ == "__main__":
    begun = time.monotonic()
    main()
    print(f"{time.monotonic() - begun:.1f} s", file=sys.stderr)
