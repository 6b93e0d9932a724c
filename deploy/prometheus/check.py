#!/usr/bin/env python3
"""What promtool does not see of the alerts: each says how bad it is, what it means, three first steps, and leads to a section of the
runbook that names it; and each has a test in which it fires and one in which it does not. Whatever else names alerts, or says how many they are, is
right; what alertmanager.yml reads are secrets that compose has.
"""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent


def main():
    rules, tests = (HERE / "rules.yml").read_text(), (HERE / "rules.test.yml").read_text()
    runbook = (HERE.parents[1] / "docs" / "RUNBOOK.md").read_text()
    sections = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-"): text
                for title, text in re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", runbook, re.M)}
    faults, seen = [], []
    for block in re.split(r"^      - alert: ", rules, flags=re.M)[1:]:
        name = block.split("\n", 1)[0].strip()
        seen.append(name)
        for member, shape in {"severity": r"labels: \{severity: (page|ticket)\}", "summary": r"^ +summary: \".+\"", "description": r"^ +description: \".+\"",
                              "three steps": r"^ +steps: \"1\. .+ 2\. .+ 3\. .+\"", "runbook": r"^ +runbook_url: https://crier\.example/docs/RUNBOOK\.md#.+"}.items():
            if not re.search(shape, block, re.M):
                faults.append(f"{name}: has no {member}")
        anchor = re.search(r"RUNBOOK\.md#(\S+)", block)
        if anchor and f"`{name}`" not in sections.get(anchor.group(1), ""):
            faults.append(f"{name}: no section `{anchor.group(1)}` of docs/RUNBOOK.md names it")
        for word in ("fires: ", "is silent: "):
            if f"'{name} {word}" not in tests:
                faults.append(f"{name}: no test in which it {word.rstrip(': ')}")
    deployed, routes = (HERE.parents[1] / "docs" / "DEPLOY.md").read_text(), (HERE / "alertmanager.yml").read_text()
    for page, named in {"docs/RUNBOOK.md": re.findall(r"`(Crier\w+)`", runbook), "docs/DEPLOY.md": re.findall(r"`(Crier\w+)`", deployed),
                        "alertmanager.yml": re.findall(r"\bCrier\w+", routes)}.items():
        for name in sorted(set(named) - set(seen)):
            faults.append(f"{page}: no alert is named {name}")
    if f"`deploy/prometheus` {len(seen)} alerts" not in (HERE.parents[1] / "README.md").read_text():
        faults.append(f"README.md: does not say that there are {len(seen)} alerts")
    compose, secrets = HERE.parent / "compose", set(re.findall(r"/run/secrets/(\w+)", routes))
    for name in sorted(secrets):
        if f"  {name}: {{file: ./secrets/{name}}}" not in (compose / "compose.yaml").read_text() or f"make {name} " not in (compose / "make-secrets").read_text():
            faults.append(f"alertmanager.yml: compose has no secret {name}")
    if f"secrets: [{', '.join(sorted(secrets, reverse=True))}]" not in (compose / "compose.yaml").read_text():
        faults.append(f"compose.yaml: the service alertmanager has not the secrets {', '.join(sorted(secrets))}")
    panels = (HERE.parent / "grafana" / "panels.py").read_text()
    for anchor in set(re.findall(r'runbook="([^"]+)"', panels)) - set(sections):
        faults.append(f"panels.py: docs/RUNBOOK.md has no section `{anchor}`")
    if faults:
        sys.exit("\n".join(faults))
    print(f"alerts: {len(seen)}, each with its tests and its section of the runbook")


if __name__ == "__main__":
    main()
