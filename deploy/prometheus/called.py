#!/usr/bin/env python3
"""called.py ALERTMANAGER: whom alertmanager.yml calls, asked of an Alertmanager that runs with it: each alert of rules.yml reaches the receiver of its severity
and no other, and an alert is kept still by those that explain it, of the same installation, and by no others.
"""

import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 20
# What fires, and what of the same installation it keeps still. A role stands after a colon.
STILL = {
    "CrierNoWorker": {"CrierPostsLate", "CrierNothingPublished", "CrierRoleGone:worker"},
    "CrierNoLeader": {"CrierPostsLate", "CrierNothingPublished", "CrierRoleGone:scheduler"},
    "CrierDatabaseErrors": {"CrierPostsLate", "CrierNothingPublished", "CrierReadingsStale", "CrierLeasesExpire"},
    "CrierXRefuses": {"CrierPostsLate", "CrierNothingPublished"},
    # It has no job, and so keeps still what it explains of each.
    "CrierAbsent": {"CrierDown", "CrierNoWorker", "CrierRoleGone:exporter", "CrierRoleGone:scheduler", "CrierRoleGone:worker"},
}


def severities():
    return dict(re.findall(r"- alert: (\w+)\n(?:.*\n)*?        labels: \{severity: (\w+)\}", (HERE / "rules.yml").read_text()))


def name(labels):
    return labels["alertname"] + (":" + labels["role"] if "role" in labels else "")


# Debian's Alertmanager reads its templates here, and nowhere else.
TEMPLATES = pathlib.Path("/usr/share/prometheus/alertmanager")
# Where the package is unpacked and not installed, they are put there for this process alone.
BESIDE = 'mount -t tmpfs none /usr/share && mkdir -p "$1" && cp "$2"/*.tmpl "$1" && shift 2 && exec "$@"'


def reached(program):
    """How the program is begun, so that it finds its templates; nothing if this machine forbids that."""
    unpacked = pathlib.Path(program).parents[1] / TEMPLATES.relative_to("/")
    if TEMPLATES.exists() or not unpacked.exists():
        return [program]
    apart = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*apart, "sh", "-c", "mount -t tmpfs none /usr/share"], capture_output=True).returncode:
        return None
    return [*apart, "sh", "-c", BESIDE, "sh", str(TEMPLATES), str(unpacked), program]


class Alertmanager:
    def __init__(self, begin, folder):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/api/v2/alerts"
        self.log = folder / "log"
        self.child = subprocess.Popen(
            [*begin, f"--config.file={HERE / 'alertmanager.yml'}", f"--storage.path={folder}", f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
            stdout=self.log.open("w"), stderr=subprocess.STDOUT)

    def tell(self, alerts):
        body = json.dumps([{"labels": labels} for labels in alerts]).encode()
        urllib.request.urlopen(urllib.request.Request(self.url, body, {"Content-Type": "application/json"}), timeout=PATIENCE).close()

    def all(self):
        with urllib.request.urlopen(self.url, timeout=PATIENCE) as answer:
            return json.load(answer)


def until(what, ask):
    """What `ask` found wrong last; nothing once it finds nothing."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            wrong = ask()
        except (urllib.error.URLError, ConnectionError) as error:
            wrong = [f"{what}: {error}"]
        if not wrong or time.monotonic() > end:
            return wrong
        time.sleep(0.1)


def judge(manager, severity):
    every = [{"alertname": alert, "severity": severity[alert]} for alert in severity if alert != "CrierRoleGone"]
    every += [{"alertname": "CrierRoleGone", "severity": severity["CrierRoleGone"], "role": role} for role in ("exporter", "scheduler", "worker")]
    if wrong := until("it answers", lambda: manager.all() and None):
        return wrong
    # Each cause in an installation of its own, beside all alerts that are none; `well` has no cause at all. The one without a job comes last.
    jobs = ["well", *(cause for cause in STILL if cause != "CrierAbsent")]
    told = [each | {"job": job} for job in jobs for each in every if each["alertname"] == job or each["alertname"] not in STILL]

    def still(everywhere=frozenset()):
        def ask():
            wrong, seen = [], {tuple(sorted(alert["labels"].items())): alert for alert in manager.all()}
            for labels in told:
                what, alert = f"{name(labels)} of {labels['job']}", seen.get(tuple(sorted(labels.items())))
                if alert is None:
                    wrong.append(f"{what}: is not there")
                    continue
                quiet, shall = bool(alert["status"]["inhibitedBy"]), name(labels) in STILL.get(labels["job"], set()) | everywhere
                if quiet != shall:
                    wrong.append(f"{what}: {'is' if quiet else 'is not'} kept still")
                receivers = [each["name"] for each in alert["receivers"]]
                if receivers != [labels["severity"]]:
                    wrong.append(f"{what}: goes to {', '.join(receivers)}, and its severity is {labels['severity']}")
            return wrong
        return ask

    # All of it must hold at one time, so that nothing passes before it could be kept still.
    manager.tell(told)
    wrong = until("the alerts", still())
    manager.tell([{"alertname": "CrierAbsent", "severity": severity["CrierAbsent"]}])
    return wrong or [f"beside CrierAbsent, {one}" for one in until("the alerts", still(STILL["CrierAbsent"]))]


def main():
    severity = severities()
    with tempfile.TemporaryDirectory(prefix="crier-called-") as folder:
        begin = reached(sys.argv[1])
        if begin is None:
            print("alertmanager: NOT TRIED who gets which alert: neither is the package prometheus-alertmanager installed, nor may this user mount anything")
            return
        manager = Alertmanager(begin, pathlib.Path(folder))
        try:
            wrong = judge(manager, severity)
        finally:
            manager.child.terminate()
            manager.child.wait()
        if wrong:
            print("\n".join(f"alertmanager.yml: {one}" for one in dict.fromkeys(wrong)), file=sys.stderr)
            print(manager.log.read_text()[-2000:], file=sys.stderr)
            sys.exit(1)
    print(f"alertmanager: {len(severity)} alerts reach the receiver of their severity; {len(STILL)} causes keep what they explain still, and nothing else")


main()
