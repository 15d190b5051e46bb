"""A program in the place of a peer, or of ours: it speaks the part of its language that the benchmark asks for, and sends real mail.

``python stand_in.py [MAIL-PORT]`` prints its port and serves until it is stopped; the port may be set later, as a peer's is.
It knows one code for everybody.
"""

from __future__ import annotations

import json
import smtplib
import sys
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CODE = "271828"


class StandIn(ThreadingHTTPServer):
    """What it has been told so far."""

    mail_port = 0
    addresses: dict[str, str]

    def answer(self, path: str, body: dict[str, str]) -> tuple[int, object]:
        match path.rpartition("/")[2]:
            case "send-verification-otp":
                self.send(body["email"])
                return 200, {"success": True}
            case "verify-email":
                return (200, {"status": True}) if body["otp"] == CODE else (400, {"code": "INVALID_OTP"})
            case "verifications":
                self.send(body["to"])
                return 201, {"id": "ver_1", "status": "pending"}
            case "auth":
                return 200, {"result": {"status": True, "value": {"token": "of the administrator"}}}
            case "sink":
                self.mail_port = int(body["port"])
            case "init":
                self.addresses[body["serial"]] = body["email"]
            case "triggerchallenge":
                # A copy of the server starts without what the first one was told.
                self.send(self.addresses.get(body["serial"], "somebody@example.org"))
                return 200, {"detail": {"transaction_id": body["serial"]}, "result": {"status": True, "value": 1}}
            case "check" if "code" in body:
                return 200, {"status": "approved" if body["code"] == CODE else "pending"}
            case "check":
                found = (body["pass"], body["transaction_id"]) == (CODE, body["serial"])
                return 200, {"result": {"status": True, "value": found}}
        return 200, {"result": {"status": True, "value": True}}

    def send(self, to: str) -> None:
        message = EmailMessage()
        message["To"] = to
        message.set_content(f"{CODE} is your code.")
        with smtplib.SMTP("127.0.0.1", self.mail_port, local_hostname="localhost") as client:
            client.send_message(message, "codes@example.org", [to])


class Asked(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = self.server.answer(self.path, body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    with StandIn(("127.0.0.1", 0), Asked) as stand_in:
        stand_in.addresses = {}
        stand_in.mail_port = int(sys.argv[1]) if sys.argv[1:] else 0
        print(stand_in.server_address[1], flush=True)
        stand_in.serve_forever()
