#!/usr/bin/env python3
"""Holds the dashboards against Grafana's published schema: the models of `grafana-foundation-sdk` (PyPI), read and written again.

A member that the models do not know is lost on the way, and a value of the wrong type is changed: both are faults. `make dashboards-check`
brings the package.
"""

import json
import pathlib
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

# Members that Grafana writes itself and the models leave out.
BEYOND = {"/id", "/preload", "/templating/list/[]/definition"}


def lost(ours, theirs, path=""):
    """Paths whose value did not come back."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key not in theirs:
                yield f"{path}/{key}"
            else:
                yield from lost(value, theirs[key], f"{path}/{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for one, other in zip(ours, theirs):
            yield from lost(one, other, f"{path}/[]")
    elif ours != theirs:
        yield path


def main():
    register_default_plugins()
    faults, count = [], 0
    for path in sorted((pathlib.Path(__file__).parent / "dashboards").glob("*.json")):
        ours = json.loads(path.read_text())
        theirs = json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(path.read_text()))))
        faults += [f"{path.name}: {where}" for where in sorted(set(lost(ours, theirs)) - BEYOND)]
        count += 1
    if faults:
        sys.exit("not in Grafana's schema:\n" + "\n".join(faults))
    print(f"dashboards: {count} keep to Grafana's schema")


if __name__ == "__main__":
    main()
