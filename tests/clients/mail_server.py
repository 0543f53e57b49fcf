"""A mail server of others (aiosmtpd) that behaves as those who should get a mail are called.

usage: mail_server.py CERTIFICATE KEY
Prints the ports of three listeners as one line of JSON (plain, STARTTLS with a login, TLS from the beginning with a login), then a
line for each mail that it accepts. It ends when its standard input ends.

gone@...   has left: 550
later@...  is over quota at first: 452, twice
cut@...    the connection breaks after the mail is there, the first time
hang@...   the server goes on thinking
"""

import asyncio
import email
import email.policy
import json
import socket
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

certificate, key = sys.argv[1:]
lock, asked, mails = threading.Lock(), {}, []


def say(what):
    with lock:
        print(json.dumps(what), flush=True)


class Handler:
    def __init__(self, name):
        self.name = name

    async def handle_RCPT(self, server, session, envelope, address, options):
        who = address.split("@")[0]
        asked[who] = asked.get(who, 0) + 1
        if who == "gone":
            return "550 5.1.1 No such user"
        if who == "later" and asked[who] < 3:
            return "452 4.2.2 Over quota"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        who = [address.split("@")[0] for address in envelope.rcpt_tos]
        say(
            {
                "listener": self.name,
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "tls": server.transport.get_extra_info("sslcontext") is not None,
                "login": bool(session.authenticated),
                "headers": {name: str(value) for name, value in mail.items()},
                "text": mail.get_body(("plain",)).get_content(),
                "html": mail.get_body(("html",)).get_content(),
                "defects": [str(defect) for part in mail.walk() for defect in part.defects],
            }
        )
        if "hang" in who:
            await asyncio.sleep(3600)
        if "cut" in who and asked["cut"] == 1:
            server.transport.abort()
        return "250 2.0.0 Taken"


def authenticate(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"hookline", b"right")
    return AuthResult(success=right, handled=False)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
login = {"authenticator": authenticate, "auth_required": True}
ways = {
    "plain": {},
    "starttls": {"tls_context": context, "require_starttls": True, **login},
    # aiosmtpd does not take TLS from the beginning for an encrypted connection where it asks for a login.
    "tls": {"ssl_context": context, "auth_require_tls": False, **login},
}
ports = {}
for name, way in ways.items():
    # Ready when it answers; a port that was taken meanwhile is another port.
    for attempt in range(10):
        ports[name] = free_port()
        controller = Controller(Handler(name), hostname="127.0.0.1", port=ports[name], **way)
        try:
            controller.start()
            break
        except OSError:
            if attempt == 9:
                raise
say(ports)
sys.stdin.read()
