#!/usr/bin/env python3
"""Takes a running crier from an older version to this one and back, under load: `make upgrade-check`.

check.py --old CRIER --new CRIER: beside a PostgreSQL that DATABASE_URL names. Jobs come in all the time: texts, threads, pictures, edits,
cancels; a receiver of webhooks listens. Meanwhile the schema is brought up to date beside the old processes; then schedulers and workers are
replaced one by one, by the new ones, by the old ones on the newer schema, and by the new ones again. At the end: each job went out once,
at its first attempt, whole, in its thread; what was called off did not; each end was told under one id; no process broke down or said ERROR."""

import argparse
import collections
import http.server
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ACCOUNTS = [f"account_{n}" for n in range(6)]
# What a reader of the log must not see.
BROKEN = (" ERROR ", "panicked at")
GRACE = 30


def hold(condition, words):
    if not condition:
        raise SystemExit(f"upgrade: {words}")


def until(what, ask, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ask():
            return
        time.sleep(0.2)
    raise SystemExit(f"upgrade: not within {seconds} s: {what}")


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.heard.append((self.headers["webhook-id"], body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def listen():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.heard = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Stage:
    def __init__(self, folder, old, new, receiver):
        self.folder, self.binaries, self.children = pathlib.Path(folder), {"old": old, "new": new}, []
        self.env = {
            "PATH": os.environ["PATH"], "DATABASE_URL": os.environ["DATABASE_URL"],
            "CRIER__SECRETS__KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "CRIER__SECRETS__RESCUE_DIR": f"{folder}/rescue", "CRIER__MEDIA__ROOT": f"{folder}/media",
            "CRIER__EXPORTER__LISTEN": "127.0.0.1:0", "CRIER__WEBHOOKS__ALLOW_HTTP": "true", "CRIER__WEBHOOKS__ALLOW_PRIVATE": "true",
            "CRIER__WEBHOOKS__PORTS": json.dumps([receiver.server_port])}
        sim = self.start("new", "sim", "--listen", "127.0.0.1:0", stdout=subprocess.PIPE)
        self.sim = sim.stdout.readline().strip()
        self.env["CRIER__X__BASE_URL"] = self.sim
        self.say("new", "demo", "--files-only", f"{folder}/media")
        self.pictures = sorted(path.name for path in (self.folder / "media").glob("*.png"))

    def start(self, version, *words, **more):
        log = self.folder / f"{len(self.children):02}-{version}-{words[0]}.log"
        child = subprocess.Popen([self.binaries[version], *words], env=self.env, stdin=subprocess.DEVNULL, text=True,
                                 stderr=log.open("w"), **{"stdout": subprocess.DEVNULL} | more)
        child.log, child.name = log, log.stem
        self.children.append(child)
        return child

    def role(self, version, role):
        """A role that is up."""
        child = self.start(version, role)
        until(f"{child.name} runs", lambda: "crier runs" in child.log.read_text() or child.poll() is not None)
        hold(child.poll() is None, f"{child.name} ended: {child.log.read_text()}")
        return child

    def end(self, child):
        """SIGTERM: it must end by itself, in time and well."""
        begin = time.monotonic()
        child.send_signal(signal.SIGTERM)
        try:
            code = child.wait(GRACE)
        except subprocess.TimeoutExpired:
            code = "none"
        hold(code == 0, f"{child.name} ended with {code}:\n" + "\n".join(child.log.read_text().splitlines()[-12:]))
        return time.monotonic() - begin

    def say(self, version, *words, text=None):
        done = subprocess.run([self.binaries[version], *words], env=self.env, input=text, text=True, capture_output=True)
        hold(done.returncode == 0, f"crier {' '.join(words)} ({version}): {done.stderr}")
        return done.stdout

    def sql(self, text):
        done = subprocess.run(["psql", "-X", "-qAt", "-v", "ON_ERROR_STOP=1", self.env["DATABASE_URL"]], input=text, text=True, capture_output=True)
        hold(done.returncode == 0, f"{done.stderr}\n{text}")
        return done.stdout.strip()

    def ask_sim(self, path, body=None):
        request = urllib.request.Request(self.sim + path, json.dumps(body).encode() if body else None, {"content-type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.read().decode()

    def down(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()


class Load(threading.Thread):
    """People who insert, edit and cancel until they are told to stop."""

    def __init__(self, stage, seed):
        super().__init__(daemon=True)
        self.stage, self.chance, self.done, self.fault = stage, random.Random(seed), threading.Event(), None
        self.expected, self.cancelled, self.replies = {}, set(), {}

    def run(self):
        try:
            n = 0
            while not self.done.wait(0.1):
                n += 1
                self.one(n)
        except SystemExit as error:
            self.fault = str(error)

    def insert(self, account, text, columns="", values=""):
        return self.stage.sql(f"insert into crier.jobs (account, text{columns}) values ('{account}', '{text}'{values}) returning id;")

    def one(self, n):
        account, kind, text = self.chance.choice(ACCOUNTS), self.chance.random(), f"post {n}"
        if kind < 0.5:
            job = self.insert(account, text, ", run_at", f", crier.now() + interval '{self.chance.random() * 4:.2f} seconds'")
        elif kind < 0.7:
            picture = self.chance.choice(self.stage.pictures)
            job = self.insert(account, text, ", media", f""", '[{{"path": "{picture}", "alt_text": "a picture"}}]'""")
            self.expected[job] = (account, text, 1)
            return
        elif kind < 0.85:
            job = self.insert(account, text)
            second = self.insert(account, f"{text}, its reply", ", after", f", {job}")
            self.expected[second] = (account, f"{text}, its reply", 0)
            self.replies[f"{text}, its reply"] = text
        elif kind < 0.93:
            job = self.insert(account, f"{text}, before it was edited", ", run_at", ", crier.now() + interval '1 hour'")
            self.stage.sql(f"update crier.jobs set text = '{text}', run_at = crier.now() where id = {job};")
        else:
            job = self.insert(account, text, ", run_at", ", crier.now() + interval '1 hour'")
            self.stage.sql(f"select crier.cancel({job});")
            self.cancelled.add(job)
            return
        self.expected[job] = (account, text, 0)


def replace(stage, running, version, pause):
    """One process after the other: the new one is up before its predecessor is told to go."""
    took = []
    for role, place in [("scheduler", 0), ("worker", 1), ("worker", 2)]:
        fresh = stage.role(version, role)
        took.append(stage.end(running[place]))
        running[place] = fresh
        time.sleep(pause)
    return max(took)


def judge(stage, load, heard):
    posts = json.loads(stage.ask_sim("/_sim/posts"))
    rows = json.loads(stage.sql("select coalesce(json_agg(json_build_object('id', id, 'state', state, 'attempts', attempts, 'post', post_id, 'error', error)), '[]') from crier.jobs;"))
    jobs = {str(row["id"]): row for row in rows}
    live = collections.Counter((post["account"], post["text"]) for post in posts)
    ids = {post["text"]: post["id"] for post in posts}
    for job, (account, text, pictures) in load.expected.items():
        row = jobs[job]
        hold(row["state"] == "published" and row["attempts"] == 1, f"job {job} ({text}): {row}")
        hold(live[account, text] == 1, f"job {job} ({text}) is on X {live[account, text]} times")
        post = next(post for post in posts if post["id"] == row["post"])
        hold(len(post["media"]) == pictures, f"job {job} ({text}) has {len(post['media'])} pictures")
        if text in load.replies:
            hold(post["reply_to"] == ids[load.replies[text]], f"job {job} ({text}) replies to {post['reply_to']}")
    for job in load.cancelled:
        hold(jobs[job]["state"] == "cancelled", f"job {job} was called off: {jobs[job]}")
    hold(len(posts) == len(load.expected), f"{len(posts)} posts for {len(load.expected)} jobs")
    told = collections.defaultdict(set)
    for one, body in heard:
        told[str(body["data"]["job"]["id"])].add(one)
    for job in load.expected:
        hold(len(told[job]) == 1, f"job {job} was told under {len(told[job])} ids")
    for child in stage.children:
        for line in child.log.read_text().splitlines():
            hold(not any(words in line for words in BROKEN), f"{child.name}: {line}")


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--old", required=True, help="the older binary")
    words.add_argument("--new", required=True, help="this binary")
    words.add_argument("--pause", type=float, default=3, help="seconds between two replacements")
    words.add_argument("--seed", type=int, default=random.randrange(10**6))
    words = words.parse_args()
    receiver = listen()
    with tempfile.TemporaryDirectory(prefix="crier-upgrade-") as folder:
        stage = Stage(folder, words.old, words.new, receiver)
        try:
            stage.say("old", "migrate")
            for name in ACCOUNTS:
                stage.say("old", "auth", "import", text=stage.ask_sim("/_sim/accounts", {"username": name}))
            # So slow that whoever is told to go has calls in flight.
            stage.ask_sim("/_sim/faults", {"route": "POST /2/tweets", "kind": "slow", "delay_ms": 500, "times": 100_000})
            stage.say("old", "webhooks", "add", "ops", f"http://127.0.0.1:{receiver.server_port}/")
            begun = stage.sql("select max(version) from public._sqlx_migrations;")
            running = [stage.role("old", role) for role in ("scheduler", "worker", "worker")]
            load = Load(stage, words.seed)
            load.start()
            time.sleep(2 * words.pause)
            begin = time.monotonic()
            stage.say("new", "migrate")
            migrated = time.monotonic() - begin
            time.sleep(words.pause)
            took = [replace(stage, running, version, words.pause) for version in ("new", "old", "new")]
            load.done.set()
            load.join()
            hold(load.fault is None, load.fault)
            until("all is at its end", lambda: stage.sql("select count(*) from crier.jobs where state in ('scheduled', 'unknown', 'paused');") == "0")
            until("all is told", lambda: stage.sql("select count(*) from crier.webhook_deliveries where state = 'waiting';") == "0")
            for child in running:
                stage.end(child)
            judge(stage, load, receiver.heard)
            print(f"upgrade: schema {begun} to {stage.sql('select max(version) from public._sqlx_migrations;')} in {migrated:.1f} s beside the old version; there, back and there again: "
                  f"{len(load.expected)} posts, each once at its first attempt, {len(load.cancelled)} called off; the longest stop {max(took):.1f} s; seed {words.seed}")
        except BaseException:
            for child in stage.children:
                print(f"--- {child.name}, its end\n" + "\n".join(child.log.read_text(errors="replace").splitlines()[-6:]), file=sys.stderr)
            print(f"seed {words.seed}", file=sys.stderr)
            raise
        finally:
            stage.down()


if __name__ == "__main__":
    main()
