"""Hooks for schemathesis: requests are signed as Standard Webhooks, and what is authentic and right is accepted.

Environment: SOURCES, JSON of {"canonical": SECRET, "cloud": SECRET} (both sign as Standard Webhooks); REPORT, a file for
what was answered.
"""

import atexit
import base64
import collections
import hashlib
import hmac
import itertools
import json
import os
import uuid
from datetime import datetime, timezone

import schemathesis
from requests.auth import AuthBase
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from standardwebhooks.webhooks import Webhook

SOURCES = json.loads(os.environ["SOURCES"])
WEBHOOKS = "/v1/webhooks/{source}"
seen = collections.Counter()
calls = itertools.count(1)
atexit.register(lambda: open(os.environ["REPORT"], "w").write(json.dumps(seen)))


class Signed(AuthBase):
    """Signs the bytes that go over the wire, as a platform does."""

    def __call__(self, request):
        secret = SOURCES.get(request.path_url.partition("?")[0].rpartition("/")[2])
        if secret is not None:
            body = request.body or b""
            body = body if isinstance(body, bytes) else body.encode()
            now, message_id = datetime.now(timezone.utc), f"msg_{uuid.uuid4().hex}"
            signature = sign(secret, message_id, now, body)
            proof = {"webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
            request.headers.update(proof)
        return request


def sign(secret, message_id, now, body):
    try:
        return Webhook(secret).sign(message_id, now, body.decode())
    except UnicodeDecodeError:  # The library signs texts only; Hookline takes a signature over any bytes.
        key = base64.b64decode(secret.removeprefix("whsec_"))
        code = hmac.new(key, f"{message_id}.{int(now.timestamp())}.".encode() + body, hashlib.sha256)
        return "v1," + base64.b64encode(code.digest()).decode()


schemathesis.auth.set_from_requests(Signed()).apply_to(path=WEBHOOKS, method=["POST", "PUT"])


@schemathesis.hook
def before_call(context, case, kwargs):
    """Sends each body to a source that takes its kind, and every other one for good. What is generated is replaced only
    where it is right: a name that breaks the rules for names stays as it is."""
    if case.operation.path != WEBHOOKS:
        return
    number = next(calls)
    if is_right(case, ParameterLocation.PATH):
        cloud = "cloudevents" in (case.media_type or "")
        source = "nobody" if number % 16 == 0 else "cloud" if cloud else "canonical"
        # Cases share what they were made of: it is not changed in place.
        case.path_parameters = {**case.path_parameters, "source": source}
    if number % 2 and case.query and is_right(case, ParameterLocation.QUERY):
        case.query = {name: value for name, value in case.query.items() if name != "dry_run"}


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    """One document a line."""
    items = value if isinstance(value, list) else [value]
    return "\n".join(json.dumps(item) for item in items).encode()


@schemathesis.check
def right_and_authentic_events_are_accepted(context, response, case):
    """A body that the description allows is accepted whole; any other authentic one is at least kept."""
    mode = body_mode(case)
    answer = response.json() if "json" in response.headers.get("content-type", [""])[0] and response.content else {}
    said = answer.get("status") if response.status_code == 202 else ""
    stored = "stored" if said and "dry_run" not in answer else ""
    seen[f"{case.method} {case.operation.path} {response.status_code} {said} {mode} {stored}".rstrip()] += 1
    if response.status_code != 202:
        return
    assert answer["events"] == len(answer["results"]), answer
    assert answer["quarantined"] == sum(result["status"] == "quarantined" for result in answer["results"]), answer
    assert response.headers["hookline-receipt"] == [answer["receipt"]], response.headers
    if mode == "positive":
        assert said == "accepted" and answer["quarantined"] == 0, answer


def body_mode(case):
    if case.meta is None or ParameterLocation.BODY not in case.meta.components:
        return "none"
    return "positive" if is_right(case, ParameterLocation.BODY) else "negative"


def is_right(case, location):
    """Whether a part of a request is as the description wants it, or not there."""
    part = case.meta.components.get(location) if case.meta else None
    return part is None or part.mode == GenerationMode.POSITIVE
