#!/usr/bin/env python3
"""Has real deliveries of crier verified by the library that the Standard Webhooks specification publishes.

check.py CRIER: beside a PostgreSQL that DATABASE_URL names (`make webhooks-check` starts a private one) it runs the simulator of X and crier,
publishes posts, and receives what crier tells of them: each try must verify, one that fails must come again under its id, and
what is changed on its way, signed by another secret or too old must not verify."""

import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from standardwebhooks import Webhook, WebhookVerificationError

# A receiver's own secret, as the library's makers write them, and a text that is more than ASCII.
OWN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwKg=="
TEXT = "Grüße aus Köln 🎉 \"quoted\", a\\b\nand a second line"
SOON = 60


def hold(condition, words):
    if not condition:
        raise SystemExit(f"webhooks: {words}")


class Receiver(http.server.ThreadingHTTPServer):
    """Answers with these statuses, one after the other, and then with the last of them; keeps what it heard."""

    def __init__(self, statuses):
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses, self.heard = statuses, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        server = self.server
        status = server.statuses[min(len(server.heard), len(server.statuses) - 1)]
        server.heard.append((dict(self.headers.items()), body))
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Stage:
    def __init__(self, crier, receivers):
        self.crier, self.children = crier, []
        ports = [receiver.server_port for receiver in receivers]
        self.env = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": os.environ["DATABASE_URL"],
            "CRIER__SECRETS__KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "CRIER__WEBHOOKS__ALLOW_HTTP": "true",
            "CRIER__WEBHOOKS__ALLOW_PRIVATE": "true",
            "CRIER__WEBHOOKS__PORTS": json.dumps(ports),
            "CRIER__EXPORTER__LISTEN": "127.0.0.1:0",
        }

    def start(self, *words, **more):
        child = subprocess.Popen([self.crier, *words], env=self.env, stdin=subprocess.DEVNULL, text=True, **more)
        self.children.append(child)
        return child

    def say(self, *words, text=None):
        done = subprocess.run([self.crier, "--json", *words], env=self.env, input=text, text=True, capture_output=True)
        hold(done.returncode == 0, f"crier {' '.join(words)}: {done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def down(self):
        for child in self.children:
            child.send_signal(signal.SIGTERM)
        for child in self.children:
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()


def account(sim, name):
    """A user of the simulator's, in the form that `crier auth import` reads."""
    request = urllib.request.Request(f"{sim}/_sim/accounts", json.dumps({"username": name}).encode(), {"content-type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return answer.read().decode()


def refused(secret, headers, body):
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return True
    return False


def judge(secret, calls):
    """Every call verifies, and nothing that is not that call does."""
    told = []
    for headers, body in calls:
        headers = {name.lower(): value for name, value in headers.items()}
        told.append(Webhook(secret).verify(body, headers))
        hold(refused(secret, headers, body.replace(b"acme", b"evil")), "a changed body verifies")
        hold(refused(secret, headers | {"webhook-id": "another"}, body), "another id verifies")
        old = str(int(headers["webhook-timestamp"]) - 3600)
        hold(refused(secret, headers | {"webhook-timestamp": old}, body), "an old time verifies")
        hold(refused("whsec_" + "A" * 32, headers, body), "another secret verifies")
        hold(told[-1]["id"] == headers["webhook-id"], "the body has another id than its header")
        hold(headers["content-type"].startswith("application/json"), "it is not sent as JSON")
    return told


def main():
    (crier,) = sys.argv[1:]
    made, own = Receiver([500, 200]), Receiver([200])
    stage = Stage(crier, [made, own])
    with tempfile.TemporaryDirectory() as folder:
        secret_file = pathlib.Path(folder, "secret")
        secret_file.write_text(OWN)
        try:
            sim = stage.start("sim", "--listen", "127.0.0.1:0", stdout=subprocess.PIPE)
            stage.env["CRIER__X__BASE_URL"] = base = sim.stdout.readline().strip()
            stage.say("migrate")
            stage.say("auth", "import", text=account(base, "acme"))
            (added,) = stage.say("webhooks", "add", "made", f"http://127.0.0.1:{made.server_port}/hook", "--events", "published")
            stage.say("webhooks", "add", "own", f"http://127.0.0.1:{own.server_port}/hook", "--secret-file", str(secret_file))
            stage.start("run", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stage.say("post", "--account", "acme", TEXT)
            stage.say("post", "--account", "acme", "much too long " * 40)
            until = time.monotonic() + SOON
            while (len(made.heard) < 2 or len(own.heard) < 2) and time.monotonic() < until:
                time.sleep(0.1)
        finally:
            stage.down()
    hold(len(made.heard) == 2, f"a delivery that fails once came {len(made.heard)} times within {SOON} s")
    tries = judge(added["secret"], made.heard)
    hold(all(each == tries[0] for each in tries) and tries[0]["type"] == "published", f"one delivery, several contents: {tries}")
    hold(tries[0]["data"]["job"]["text"] == TEXT, f"the text is another: {tries[0]}")
    hold(len(own.heard) == 2, f"two events came as {len(own.heard)} calls")
    told = judge(OWN, own.heard)
    hold({each["type"] for each in told} == {"published", "failed"}, f"other events than happened: {told}")
    print(f"webhooks: {len(made.heard) + len(own.heard)} calls verify with standardwebhooks; changed, old and foreign ones do not")


main()
