#!/usr/bin/env python3
"""Runs every query of every dashboard against a real Prometheus and a real Postgres, under a load with faults, while that Prometheus evaluates the alerts.

Fails for a query that is refused, for one that shows nothing, or only zeros, without a stated reason why the load cannot bring more (`unstaged`), for an
alert that was not evaluated or could not be, and for a metric that no panel and no alert uses. When an alert fires is for `make alerts-check`; that the
dashboards are what panels.py says, and that each panel has all it must, for `build.py --check`. `--images FOLDER` draws Overview's curves as PNG (wants matplotlib).
`make dashboards-check` calls it beside a private PostgreSQL.
"""

import argparse
import pathlib
import re
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from panels import DASHBOARDS, UNUSED, Prom  # noqa: E402
from stage import Stage, until  # noqa: E402

# What Grafana puts in their place.
INTERVAL = "30s"
WORDS = {"$__rate_interval": INTERVAL, '"$job"': '"crier"', "${campaign:sqlstring}": "'spring'"}
TIME = re.compile(r"\$__timeFilter\((\w+)\)")


def plain(text):
    for word, value in WORDS.items():
        text = text.replace(word, value)
    return TIME.sub(r"\1 between now() - interval '7 days' and now() + interval '7 days'", text)


def prom(stage, query, since, now):
    """Number of the series that show more than zero at some time of the load, and all that come; or why the query is refused."""
    answer = stage.prom_api("query_range", query=plain(query.expr), start=since, end=now, step=1)
    if answer["status"] != "success":
        return None, answer.get("error", "refused")
    series = [one for one in answer["data"]["result"] if any(value != "NaN" for _, value in one["values"])]
    return sum(any(value != "NaN" and float(value) for _, value in one["values"]) for one in series), series


def sql(stage, query):
    try:
        said = stage.sql(plain(query.sql), stage.reader)
    except RuntimeError as error:
        return None, str(error)
    return len(said.splitlines()), said


def names(pages):
    """Every metric that the processes show."""
    return sorted({line.split()[2] for page in pages for line in page.splitlines() if line.startswith("# TYPE crier_")})


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--crier", required=True, help="the binary")
    words.add_argument("--prometheus", required=True, help="Prometheus's server")
    words.add_argument("--seconds", type=int, default=33, help="how long the load lasts")
    words.add_argument("--images", help="folder for PNGs")
    words = words.parse_args()

    faults, shown, bare = [], 0, sum(bool(query.unstaged) for dashboard in DASHBOARDS for panel in dashboard.panels() for query in panel.queries)
    with tempfile.TemporaryDirectory(prefix="crier-dashboards-") as folder:
        stage = Stage(folder, words.crier, words.prometheus)
        try:
            since = time.time()
            stage.up()
            stage.load(words.seconds)
            until("the last numbers are scraped", lambda: float(stage.prom_api("query", query="time() - max(timestamp(crier_build_info))")["data"]["result"][0]["value"][1]) < 3)
            time.sleep(3)
            now = time.time()
            kept = {}
            for dashboard in DASHBOARDS:
                for panel in dashboard.panels():
                    for query in panel.queries:
                        ask = prom(stage, query, since, now) if isinstance(query, Prom) else sql(stage, query)
                        count, found = ask
                        shown += 1
                        where = f"{dashboard.title} / {panel.title}"
                        if count is None:
                            faults.append(f"{where}: refused: {found}")
                        elif count == 0 and not query.unstaged:
                            faults.append(f"{where}: shows {'nothing but zeros' if found else 'nothing'}: {query.expr if isinstance(query, Prom) else query.sql}")
                        elif missing := [word for word in getattr(query, "among", ()) if word not in found]:
                            faults.append(f"{where}: shows no {', no '.join(missing)}:\n{found}")
                        kept.setdefault(where, []).append((panel, query, found))
            rules = (HERE.parent / "prometheus" / "rules.yml").read_text()
            asked = " ".join(q.expr for d in DASHBOARDS for p in d.panels() for q in p.queries if isinstance(q, Prom)) + rules
            pages = stage.metrics()
            for name in names(pages):
                if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", asked) and name not in UNUSED:
                    faults.append(f"{name}: no panel and no alert uses it; give it one, or a reason in UNUSED of panels.py")
            for name in UNUSED:
                if name not in names(pages):
                    faults.append(f"{name}: is named in UNUSED, and no process shows it")
            for rule in stage.prom_api("rules")["data"]["groups"]:
                for one in rule["rules"]:
                    # The rules are evaluated each second: one of which nothing is known (`unknown`) never was.
                    if one["health"] != "ok":
                        faults.append(f"alert {one['name']}: {one['health']}: {one.get('lastError')}")
            if words.images:
                from images import draw
                draw(kept, pathlib.Path(words.images), since, now)
        finally:
            stage.down()
            if faults or not shown:
                for log in sorted(pathlib.Path(folder).glob("*.log")):
                    print(f"--- {log.name}, its end\n" + "\n".join(log.read_text(errors="replace").splitlines()[-8:]), file=sys.stderr)
    if faults:
        sys.exit("\n".join(["dashboards: " + str(len(faults)) + " faults"] + faults))
    print(f"dashboards: {shown - bare} queries of {len(DASHBOARDS)} dashboards show something, {bare} say why they need not; every metric is used")


if __name__ == "__main__":
    main()
