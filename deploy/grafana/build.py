#!/usr/bin/env python3
"""Writes the dashboards' JSON from panels.py; or with --check says whether what is there is what it would write, and whether each panel has all that
complete.py wants of it.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from complete import PLANTED, blind, faults  # noqa: E402
from panels import DASHBOARDS, UNSHOWN  # noqa: E402


def main():
    check, found = "--check" in sys.argv[1:], []
    for dashboard in DASHBOARDS:
        path = HERE / "dashboards" / f"{dashboard.uid}.json"
        text = dashboard.text_of_file()
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            found.append(f"{path.name} is not what panels.py says; run deploy/grafana/build.py")
    if check:
        rules, runbook = (HERE.parent / "prometheus" / "rules.yml").read_text(), (HERE.parents[1] / "docs" / "RUNBOOK.md").read_text()
        found += [*blind(), *faults(DASHBOARDS, UNSHOWN, rules, runbook)]
        if found:
            sys.exit("\n".join([f"dashboards: {len(found)} faults", *found]))
        count = sum(len(dashboard.panels()) for dashboard in DASHBOARDS)
        print(f"dashboards: {count} panels have description, link, unit, and limit or reason; {len(PLANTED)} planted faults were seen")


if __name__ == "__main__":
    main()
