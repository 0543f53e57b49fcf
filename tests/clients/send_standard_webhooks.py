"""A platform that signs with the `standardwebhooks` library, and knows of Hookline only what its docs say.

usage: send_standard_webhooks.py INGEST_URL SECRET EVENT_FILE
"""

import json
import sys
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

from standardwebhooks.webhooks import Webhook


def post(url, body, headers):
    """The status and the body of the answer."""
    request = urllib.request.Request(url, data=body.encode(), headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def signed(secret, message_id, when, body):
    """What the library would have us send."""
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(when.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, when, body),
    }


def expect(what, status, answer):
    got, text = answer
    assert got == status, f"{what}: expected {status}, got {got}: {text}"
    return json.loads(text)


url, secret, event_file = sys.argv[1:]
now = datetime.now(timezone.utc)
event = json.load(open(event_file))
event |= {"id": f"standardwebhooks-{now.timestamp()}", "time": now.isoformat()}
body = json.dumps(event)
headers = signed(secret, "msg_python_1", now, body)

receipt = expect("what the library signed", 202, post(url, body, headers))
assert receipt["status"] == "accepted" and receipt["events"] == 1, receipt
expect("a tampered body", 401, post(url, body.replace("click", "klick"), headers))
expect("another message's id", 401, post(url, body, headers | {"webhook-id": "msg_python_2"}))
other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
expect("another secret", 401, post(url, body, signed(other, "msg_python_3", now, body)))
late = now - timedelta(minutes=10)
expect("a signature of ten minutes ago", 401, post(url, body, signed(secret, "msg_python_4", late, body)))

print(json.dumps({"event_key": event["id"], "receipt": receipt["receipt"]}))
