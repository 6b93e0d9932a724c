"""What a page finds before its first line, and the commands between its words that are carried out."""

import http.server
import re
import shutil
import subprocess
import threading

import commands
import pages
from scene import Fault, until

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
LOGIN = [(r"CLIENT_SECRET=…", "CLIENT_SECRET=sim-client-secret"), (r"--client-id …", "--client-id sim-client-id")]


def crier(scene, *words, text=None):
    """A command of crier that must be done, outside of the page's shell."""
    done = subprocess.run(["crier", *words], input=text, capture_output=True, text=True, env=scene.env)
    if done.returncode:
        raise Fault(f"{scene.name}: crier {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def furnish(scene, handles=("acme", "orbit")):
    """A database with the schema and these accounts, and the variables that name it."""
    scene.env |= {"DATABASE_URL": scene.database("crier"), "CRIER__SECRETS__KEY": KEY, "CRIER__MEDIA__ROOT": str(scene.folder / "media"),
                  "CRIER__X__BASE_URL": f"http://127.0.0.1:{scene.ports['sim']}"}
    crier(scene, "migrate")
    scene.start(["crier", "sim"], "the simulator")
    for handle in handles:
        crier(scene, "auth", "import", text=scene.account(handle).decode())
    return scene.env["DATABASE_URL"]


class Receiver(threading.Thread):
    """Takes whatever is delivered."""

    def __init__(self):
        super().__init__(daemon=True)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def run(self):
        self.server.serve_forever()


def newcomer(scene):
    """Nothing but a server of Postgres, in which databases can be made, and a browser in the end."""
    scene.words += LOGIN


def recipes(scene):
    """The accounts `acme` and `orbit`."""
    furnish(scene)


def at_work(scene):
    """crier at work on two accounts, with a post on X, and a receiver of webhooks that it may reach."""
    receiver = Receiver()
    receiver.start()
    here = f"http://127.0.0.1:{receiver.port}"
    scene.words += [(r"https://ops\.example\.com", here), (r"\bID\b", "1"), (r"@A\b", "@acme"), *LOGIN]
    scene.env |= {"CRIER__WEBHOOKS__ALLOW_PRIVATE": "true", "CRIER__WEBHOOKS__ALLOW_HTTP": "true", "CRIER__WEBHOOKS__PORTS": f"[{receiver.port}]"}
    (scene.folder / "media").mkdir()
    (scene.folder / "slack-url").write_text(f"{here}/slack\n")
    furnish(scene)
    scene.start(["crier", "run"], "crier run")
    crier(scene, "post", "--account", "acme", "Hello", "--wait")
    if scene.page != "docs/WEBHOOKS.md":
        crier(scene, "webhooks", "add", "ops", f"{here}/crier")


# Each right of the two roles in a schema, on its columns and functions.
RIGHTS = """
select grantee::regrole, privilege_type, what from (
  select n.nspname::text, n.nspacl from pg_namespace n where n.nspname = 'crier' union all
  select c.relname, c.relacl from pg_class c where c.relnamespace = 'crier'::regnamespace union all
  select c.relname || '.' || a.attname, a.attacl from pg_attribute a join pg_class c on c.oid = a.attrelid where c.relnamespace = 'crier'::regnamespace union all
  select p.oid::regprocedure::text, p.proacl from pg_proc p where p.pronamespace = 'crier'::regnamespace) r (what, acl), aclexplode(acl)
where grantee in ('crier_writer'::regrole, 'crier_reader'::regrole) order by 1, 2, 3
"""


def deprived(scene):
    """A schema on which the roles have no rights, as if they had come later."""
    database = furnish(scene, ())
    scene.rights = scene.psql(database, "-qAtc", RIGHTS)
    scene.psql(database, "-qc", "drop owned by crier_writer, crier_reader")
    if scene.psql(database, "-qAtc", RIGHTS):
        raise Fault(f"{scene.page}: the roles have rights left")


def restored(scene):
    """A database with what has to be held back after a restore: due, paused, perhaps on X, recurring."""
    scene.psql(furnish(scene), "-q", text="""
        insert into crier.jobs (account, text, run_at, max_lateness) values ('acme', 'due', crier.now() - interval '5 seconds', '1 day');
        insert into crier.jobs (account, text, run_at, campaign) values ('acme', 'paused', crier.now() - interval '1 day', 'spring');
        select crier.pause_campaign('spring');
        insert into crier.jobs (account, text, run_at) values ('acme', 'perhaps', crier.now() - interval '1 hour'), ('acme', 'later', crier.now() + interval '1 day');
        update crier.jobs set state = 'unknown' where text = 'perhaps';
        insert into crier.recurring (name, account, cron, template, missed) values ('minutely', 'orbit', '* * * * *', '{"text": "again {date}"}', 'all');
        update crier.recurring set created_at = crier.now() - interval '1 hour';""")


def same_rights(scene):
    rights = scene.psql(scene.env["DATABASE_URL"], "-qAtc", RIGHTS)
    if rights != scene.rights:
        lines = set(rights.splitlines()) ^ set(scene.rights.splitlines())
        raise Fault(f"{scene.page}: the rights are not those that the migrations give: {', '.join(sorted(lines))}")


def held_back(scene):
    """Nothing that was due goes out, nor a slot that passed; what is to come waits."""
    scene.start(["crier", "scheduler"], "crier scheduler")
    ask = """select string_agg(text || ' ' || state || case when state = 'missed' then '' else ' ' || coalesce((miss_at < crier.now())::text, '-') end, ', ' order by id)
      from crier.jobs where text not like 'again%'"""
    shall = "due missed, paused missed, perhaps unknown true, later scheduled -"
    until(f"the jobs are {shall}", lambda: scene.psql(scene.env["DATABASE_URL"], "-qAtc", ask) == shall)
    # What never went out is retried, in the page's own words, and waits for a worker.
    words = next(span for _, span in pages.spans("docs/DEPLOY.md") if "crier.retry(id)" in span)
    due = scene.psql(scene.env["DATABASE_URL"], "-qAtc", "select id from crier.jobs where text = 'due'")
    scene.psql(scene.env["DATABASE_URL"], "-q", text=f"begin; {words.replace('ID', due)}; commit;")
    scene.psql(scene.env["DATABASE_URL"], "-q", text="insert into crier.jobs (account, text, max_lateness, run_at) values ('acme', 'next', '0', crier.now() - interval '1 minute')")
    # Whatever is missed by now was missed in the round that would have missed it, too.
    until("the next one is missed", lambda: scene.psql(scene.env["DATABASE_URL"], "-qAtc", "select state from crier.jobs where text = 'next'") == "missed")
    waits = scene.psql(scene.env["DATABASE_URL"], "-qAtc", f"select state, miss_at is null from crier.jobs where id = {due}")
    if waits != "scheduled|t":
        raise Fault(f"docs/DEPLOY.md: a job that is retried after a restore is {waits}")
    slots = "select count(*) filter (where run_at < crier.now() - interval '2 minutes'), count(*) > 0 from crier.jobs where text like 'again%'"
    until("slots that passed are left out", lambda: scene.psql(scene.env["DATABASE_URL"], "-qAtc", slots) == "0|t")


# What DEPLOY.md edits.
RULES = ["deploy/prometheus/rules.yml", "deploy/kubernetes/rules.yaml", "deploy/kubernetes/rules.py"]


def deployed(scene):
    """A database that was restored, and what is handed to Prometheus."""
    restored(scene)
    for file in RULES:
        (scene.folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pages.ROOT / file, scene.folder / file)


def addressed(scene):
    """Nothing that was due goes out; each alert leads to the runbook of the page, in both files alike."""
    held_back(scene)
    rules = (scene.folder / RULES[0]).read_text()
    if re.findall(r"runbook_url: (.*)#", rules) != ["https://wiki.your.example/crier-runbook"] * rules.count("- alert: "):
        raise Fault(f"{scene.page}: not every alert leads to the runbook")
    done = subprocess.run([scene.folder / RULES[2], "--check"], capture_output=True, text=True)
    if done.returncode:
        raise Fault(f"{scene.page}: {done.stderr.strip()}")


STAGES = {"README.md": newcomer, "docs/TUTORIAL.md": newcomer, "docs/SQL.md": recipes, "docs/RUNBOOK.md": at_work, "docs/WEBHOOKS.md": at_work,
          "docs/ARCHITECTURE.md": deprived, "docs/DEPLOY.md": deployed, "docs/UPGRADE.md": recipes}
# What must be so when the page is followed.
AFTER = {"docs/ARCHITECTURE.md": same_rights, "docs/DEPLOY.md": addressed}

# Commands between backticks that are carried out, not only read.


def of_runbook():
    """Those of the runbook, and of the alerts that lead to it."""
    return [(line, span) for page in ("docs/RUNBOOK.md", "deploy/prometheus/rules.yml") for line, span in pages.spans(page)]


INLINE = {"docs/RUNBOOK.md": of_runbook, "docs/WEBHOOKS.md": lambda: pages.spans("docs/WEBHOOKS.md")}

# What a command has to find, and what stands for the reader's own words.
UNKNOWN = "begin; insert into crier.jobs (account, text) values ('acme', 'perhaps'); update crier.jobs set state = 'unknown' where text = 'perhaps' and state = 'scheduled'; commit;"
CALLED_OFF = "insert into crier.jobs (account, text, run_at) values ('acme', 'off', '2030-01-01'); select crier.cancel(max(id)) from crier.jobs;"
FINDS = {"jobs settle": UNKNOWN, "jobs retry": CALLED_OFF}
OWN = [(r"POST_ID", "1234567890"), (r"@(A|NAME)\b", "@acme"), (r"--account (A|NAME)\b", "--account acme"), (r"--campaign …", "--campaign spring"), (r"\bAPP\b", "sim-client-id"),
       (r"\bUSD\b", "5"), (r"\bNAME\b", "ops"), (r"--client-id …", "--client-id sim-client-id")]


def carry_out(scene, page, line, span):
    """Runs a command of crier that stands between backticks, as it stands; answers how many that were."""
    if not re.match(r"crier \w", span) or re.search(r"crier (run|scheduler|worker|exporter|keys)\b", span) or not commands.read(scene.crier, span)[0]:
        return 0
    job = "1"
    for words, sql in FINDS.items():
        if f"crier {words}" in span:
            scene.psql(scene.env["DATABASE_URL"], "-q", text=sql)
            job = scene.psql(scene.env["DATABASE_URL"], "-qAtc", "select max(id) from crier.jobs")
    text = span
    for pattern, own in OWN:
        text = re.sub(pattern, own, text)
    scene.run(pages.Block(page, line, "sh", re.sub(r"\bID\b", job, text) + "\n"))
    return 1
