"""A stage for the dashboards: simulator, two processes of crier, a real Prometheus, and a load with faults.

It is started beside a private PostgreSQL by `scripts/with-postgres`; everything it starts ends with it.
"""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
# `blind` may not read, so that crier cannot look for a post of its own: it stays unknown.
ACCOUNTS = {"acme": {}, "orbit": {}, "lumen": {"expires_in": 200}, "dead": {}, "frozen": {}, "blind": {"scope": "tweet.write users.read offline.access"}}


def free_port():
    """A port below those that outgoing connections get, so that none of them takes it before its server does."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def until(what, ask, seconds=60):
    """Asks until it is so; what it answers, or an end in words."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            answer = ask()
            if answer:
                return answer
        except (OSError, ValueError, urllib.error.URLError, subprocess.CalledProcessError):
            pass
        time.sleep(0.2)
    raise SystemExit(f"dashboards: not within {seconds} s: {what}")


class Stage:
    def __init__(self, folder, crier, prometheus):
        self.folder, self.crier, self.prometheus_program = pathlib.Path(folder), crier, prometheus
        self.children = []
        self.sim, self.prom, self.ports = free_port(), free_port(), [free_port(), free_port()]
        # Segments so small that a film has many, and so large that the films of two minutes do not use up X's window of segments. A lease so short that
        # the one of a worker that is killed ends within the load.
        self.env = dict(
            os.environ, CRIER__SECRETS__KEY=KEY, CRIER__X__BASE_URL=f"http://127.0.0.1:{self.sim}",
            CRIER__MEDIA__ROOT=str(self.folder / "media"), CRIER__MEDIA__SEGMENT_BYTES="524288",
            CRIER__X__TIMEOUT_S="5", CRIER__X__CONNECT_TIMEOUT_S="2", CRIER__WORKER__LEASE_S="15",
            CRIER__WORKER__FIRST_LOOK_S="1", CRIER__WORKER__LOOK_WAITS_S="[1,1,2,2]",
            CRIER__WEBHOOKS__ALLOW_HTTP="true", CRIER__WEBHOOKS__ALLOW_PRIVATE="true", CRIER__WEBHOOKS__PORTS=f"[{self.sim}]")
        self.database = os.environ["DATABASE_URL"]
        self.reader = self.database.replace("postgres@", "grafana@", 1)

    # Processes

    def start(self, name, words, env=None):
        log = open(self.folder / f"{name}.log", "w")
        child = subprocess.Popen(words, env=env or self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.children.append(child)
        return child

    def say(self, *words, text=None):
        done = subprocess.run([self.crier, *words], env=self.env, input=text, text=True, capture_output=True)
        if done.returncode:
            raise SystemExit(f"dashboards: crier {' '.join(words)}: {done.stderr}")
        return done.stdout

    def role(self, name, words, port):
        return self.start(name, [self.crier, *words], dict(self.env, CRIER__EXPORTER__LISTEN=f"127.0.0.1:{port}"))

    def sql(self, text, url=None):
        done = subprocess.run(["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", url or self.database],
                              input=text, text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return done.stdout.strip()

    def http(self, method, url, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def x(self, method, path, body=None):
        return self.http(method, f"http://127.0.0.1:{self.sim}/_sim/{path}", body)

    # Prometheus

    def prom_api(self, path, **query):
        url = f"http://127.0.0.1:{self.prom}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            return self.http("GET", url)
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    def metrics(self):
        """The text of both processes' pages."""
        pages = []
        for port in self.ports:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                pages.append(page.read().decode())
        return pages

    def up(self):
        (self.folder / "media").mkdir()
        self.say("migrate")
        self.sql("create role grafana login; grant crier_reader to grafana;")
        self.say("demo", "--files-only", str(self.folder / "media"))
        self.start("sim", [self.crier, "sim", "--listen", f"127.0.0.1:{self.sim}"])
        until("the simulator listens", lambda: self.x("GET", "stats") is not None)
        made = [self.x("POST", "accounts", {"username": name, "expires_in": 7200, **more}) for name, more in ACCOUNTS.items()]
        self.say("auth", "import", text=json.dumps(made))
        # The simulator takes no webhooks: each try fails.
        self.say("webhooks", "add", "nobody", f"http://127.0.0.1:{self.sim}/hook")
        self.first = self.role("run", ["run"], self.ports[0])
        self.second = self.role("worker", ["worker"], self.ports[1])
        config = self.folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            f"rule_files: [{ROOT}/deploy/prometheus/rules.yml]\n"
            f"scrape_configs: [{{job_name: crier, static_configs: [{{targets: ['127.0.0.1:{self.ports[0]}', '127.0.0.1:{self.ports[1]}']}}]}}]\n")
        self.start("prometheus", [self.prometheus_program, f"--config.file={config}", f"--storage.tsdb.path={self.folder}/tsdb",
                                  f"--web.listen-address=127.0.0.1:{self.prom}"])
        until("both processes are scraped", lambda: len(self.prom_api("query", query="up == 1")["data"]["result"]) == 2)

    def down(self):
        for child in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in reversed(self.children):
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()

    # The load: a bit of everything that a dashboard shows

    def load(self, seconds):
        fault = lambda **members: self.x("POST", "faults", members)
        self.sql("""
            insert into crier.jobs (account, text, run_at, campaign)
              select '@' || account, 'Later ' || n || ' from ' || account, now() + n * interval '37 minutes', 'spring'
              from unnest(array['acme', 'orbit', 'lumen']) account, generate_series(1, 30) n;
            insert into crier.jobs (account, text, campaign, media) values ('@acme', 'Not there yet', 'spring', '[{"path": "not-there.png"}]');
            update crier.jobs set run_at = now() + interval '1 hour' where text = 'Not there yet';
            insert into crier.jobs (account, text, campaign) values ('@acme', repeat('too long ', 60), 'spring');
            insert into crier.jobs (account, text, run_at, max_lateness, campaign) values ('@acme', 'Too late', now() - interval '1 hour', '1 minute', 'spring');
            insert into crier.jobs (account, text, run_at) values ('@orbit', 'Called off', now() + interval '1 day');
            select crier.cancel(id) from crier.jobs where text = 'Called off';
            insert into crier.jobs (account, text, campaign, run_at) values ('@orbit', 'Stopped for now', 'autumn', now() + interval '1 hour');
            select crier.pause_campaign('autumn');
            insert into crier.recurring (name, account, cron, template, ahead) values ('hourly', '@orbit', '0 * * * *', '{"text": "Hourly {date}"}', '3 hours');
        """)
        fault(route="POST /2/tweets", kind="answer_lost", account="orbit", skip=2, times=1)
        fault(route="POST /2/tweets", kind="answer", account="orbit", skip=5, times=1, status=429, headers={"x-rate-limit-limit": "100", "x-rate-limit-remaining": "0",
              "x-rate-limit-reset": str(int(time.time()) + 20)}, body={"title": "Too Many Requests", "status": 429})
        fault(route="POST /2/tweets", kind="answer", skip=9, times=3, status=503, body="<html>over capacity</html>", account="acme")
        fault(route="POST /2/media/upload/{id}/append", kind="request_lost", skip=1, times=2)
        fault(route="POST /2/tweets", kind="answer_lost", account="blind", times=1)
        self.sql("insert into crier.jobs (account, text) values ('@blind', 'Is it there?');")
        self.first.send_signal(signal.SIGHUP)
        self.x("POST", "revoke", {"account": "dead"})
        self.sql("insert into crier.jobs (account, text) values ('@dead', 'Nobody may'); insert into crier.jobs (account, text) values ('@frozen', 'Not now');")
        self.x("POST", "standing", {"account": "frozen", "state": "suspended"})
        begin, n, killed = time.monotonic(), 0, False
        while time.monotonic() - begin < seconds:
            n += 1
            kill = not killed and time.monotonic() - begin > seconds / 3
            if kill:
                fault(route="POST /2/tweets", kind="slow", delay_ms=3000, times=3)
            if n % 8 == 0:
                # Prometheus sees a counter grow only once it knows it: what happens once, at first, is on no curve.
                account = ["acme", "orbit", "lumen"][n // 8 % 3]
                fault(route="POST /2/tweets", kind="answer", account=account, times=1, status=503, body="<html>over capacity</html>")
                fault(route="POST /2/tweets", kind="answer_lost", account=account, skip=2, times=1)
            media = """'[{"path": "picture.png"}]'""" if n % 5 == 0 else """'[{"path": "film.mp4"}]'""" if n % 7 == 0 else "'[]'"
            self.sql("".join(f"insert into crier.jobs (account, text, campaign, media) values ('@{account}', 'Now {n} from {account}', 'spring', {media});"
                             for account in ["acme", "orbit", "lumen"]))
            if kill:
                # A worker that is killed in a call leaves leases behind, and unknown posts.
                time.sleep(1.5)
                self.second.kill()
                self.second = self.role("worker2", ["worker"], self.ports[1])
                # Longer than crier waits for a lock, twice over, so that its calls to the database fail.
                self.start("lock", ["psql", "--no-psqlrc", "--quiet", self.database, "--command",
                                    "begin; lock table crier.lanes in access exclusive mode; select pg_sleep(7); commit;"])
                killed = True
            time.sleep(1)
