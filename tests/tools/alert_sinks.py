#!/usr/bin/env python3
"""A mail server and a web server that swallow what Alertmanager sends, and say what it was.

The first line on standard output has their ports, each further one is a mail or a request, as JSON.
They end with their standard input.

alert_sinks.py USER PASSWORD
"""

import asyncio
import email
import email.policy
import http.server
import json
import sys
import threading
import warnings

from aiosmtpd.smtp import SMTP, AuthResult

LOCK = threading.Lock()
# That passwords go over the loopback in clear is known here.
warnings.simplefilter("ignore")


def say(**what):
    with LOCK:
        print(json.dumps(what), flush=True)


class Mails:
    async def handle_DATA(self, server, session, envelope):  # noqa: N802, the library's name
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        say(
            to="mail",
            recipients=envelope.rcpt_tos,
            subject=mail["Subject"],
            text=mail.get_body(("plain",)).get_content(),
            html=mail.get_body(("html",)).get_content(),
        )
        return "250 OK"


def judge(server, session, envelope, mechanism, data):
    return AuthResult(success=[data.login.decode(), data.password.decode()] == sys.argv[1:3])


class Requests(http.server.BaseHTTPRequestHandler):
    def do_POST(self):  # noqa: N802, the library's name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        say(to=self.path.strip("/"), authorization=self.headers["Authorization"], body=json.loads(body))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


async def main():
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    loop = asyncio.get_running_loop()

    def session():
        # Alertmanager takes the first way to log in, and is at odds with this LOGIN.
        return SMTP(
            Mails(),
            hostname="localhost",
            auth_required=True,
            auth_require_tls=False,
            auth_exclude_mechanism=["LOGIN"],
            authenticator=judge,
        )

    post = await loop.create_server(session, "127.0.0.1", 0)
    say(smtp=post.sockets[0].getsockname()[1], http=web.server_port)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
