"""A webhook request held in the hand: header by header, sent as it is, and damaged in every way that a signature must show."""

import http.client
import json
from dataclasses import dataclass, replace
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """A request as it goes over the wire. Headers are a list, so that one can stand there twice."""

    url: str
    headers: tuple
    body: bytes
    method: str = "POST"

    def with_header(self, name, value):
        return replace(self, headers=tuple((n, value if n == name else v) for n, v in self.headers))

    def without(self, name):
        return replace(self, headers=tuple((n, v) for n, v in self.headers if n != name))

    def header(self, name):
        return next(value for known, value in self.headers if known == name)


class Wire:
    """One connection to a server, kept open, as a platform keeps it."""

    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def send(self, request):
        """The status, the headers and the JSON of the answer."""
        parts = urlsplit(request.url)
        self.connection.putrequest(request.method, parts.path + ("?" + parts.query if parts.query else ""))
        for name, value in request.headers:
            self.connection.putheader(name, value)
        self.connection.putheader("content-length", str(len(request.body)))
        self.connection.endheaders(request.body)
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, answer.headers, json.loads(text) if text else None


def altered(character):
    """Another character that could stand in its place."""
    if character.isdigit():
        return str((int(character) + 1) % 10)
    if character.isalpha():
        return {"z": "a", "Z": "A"}.get(character, chr(ord(character) + 1))
    return "A"


def of_a_header(request, name, others):
    """Every way to damage one header that carries the proof."""
    value = request.header(name)
    yield f"without {name}", request.without(name)
    yield f"an empty {name}", request.with_header(name, "")
    # The padding of base64 may be left out, so a cut takes at least two characters.
    for cut in (2, 3, len(value) // 2, len(value) - 1):
        yield f"{name} cut by {cut}", request.with_header(name, value[:-cut])
        yield f"{name} without its first {cut}", request.with_header(name, value[cut:])
    for at, character in enumerate(value):
        if character not in "=":
            changed = value[:at] + altered(character) + value[at + 1 :]
            yield f"{name} altered at {at}", request.with_header(name, changed)
            yield f"{name} without character {at}", request.with_header(name, value[:at] + value[at + 1 :])
    if "," not in value:  # A list of signatures may hold more than the one that counts.
        yield f"{name} with a dot and itself", request.with_header(name, f"{value}.{value}")
    yield f"{name} with a leading zero", request.with_header(name, "0" + value)
    yield f"{name} with a plus sign", request.with_header(name, "+" + value)
    yield f"{name} with a fraction", request.with_header(name, value + ".0")
    yield f"{name} in Latin-1", request.with_header(name, value[:-2] + "\u00e9")
    for other in others:
        yield f"{name} with the value of {other}", request.with_header(name, request.header(other))
    # A header that stands there twice: which of the two was signed?
    forged = altered(value[0]) + value[1:]
    for what, first, second in [
        ("twice", value, value),
        ("before another", value, forged),
        ("after another", forged, value),
    ]:
        headers = [(n, v) for n, v in request.headers if n != name] + [(name, first), (name, second)]
        yield f"{name} {what}", replace(request, headers=tuple(headers))


def of_the_body(request, regions=24):
    """Every region of the body damaged, and what well-meaning middlemen do to one."""
    body = request.body
    places = sorted({len(body) * region // regions for region in range(regions)} | {len(body) - 1})
    for at in places:
        yield f"byte {at} of the body flipped", replace(request, body=body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
        yield f"byte {at} of the body removed", replace(request, body=body[:at] + body[at + 1 :])
        yield f"byte {at} of the body twice", replace(request, body=body[:at] + body[at : at + 1] + body[at:])
        yield f"the body cut at {at}", replace(request, body=body[:at])
    for what, changed in [
        ("a newline at the end", body + b"\n"),
        ("a space at the end", body + b" "),
        ("a NUL at the end", body + b"\0"),
        ("a byte order mark", b"\xef\xbb\xbf" + body),
        ("a space at the start", b" " + body),
        ("itself twice", body + body),
        ("its JSON laid out anew", json.dumps(json.loads(body), indent=1).encode()),
        ("its keys in another order", json.dumps(json.loads(body), sort_keys=True).encode()),
        ("another encoding", body.decode().encode("utf-16")),
        ("its bytes reversed", body[::-1]),
    ]:
        if changed != body:
            yield f"the body with {what}", replace(request, body=changed)


def mutations(request, proof):
    """Every damaged form of a request whose proof stands in the headers `proof`."""
    for name in proof:
        yield from of_a_header(request, name, [other for other in proof if other != name])
    yield "without any proof", replace(request, headers=tuple(h for h in request.headers if h[0] not in proof))
    yield from of_the_body(request)
