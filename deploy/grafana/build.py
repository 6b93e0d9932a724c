#!/usr/bin/env python3
"""Writes the dashboards' JSON from panels.py, or with --check says whether what is there is what it would write."""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from panels import DASHBOARDS  # noqa: E402


def main():
    stale = []
    for dashboard in DASHBOARDS:
        path = HERE / "dashboards" / f"{dashboard.uid}.json"
        text = dashboard.text_of_file()
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text() != text:
                stale.append(path.name)
        else:
            path.write_text(text)
    if stale:
        sys.exit(f"not what panels.py says: {', '.join(stale)}; run deploy/grafana/build.py")


if __name__ == "__main__":
    main()
