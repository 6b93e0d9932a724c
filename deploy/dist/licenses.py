#!/usr/bin/env python3
"""Prints the licences of all that is compiled into crier, with their texts: they ask to be handed on with the program.

licenses.py TRIPLE: for a program of this target. Reads the lock file and the sources that cargo has, asks nothing of the network.
A crate that names no licence, or whose text is nowhere, is an error."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = re.compile(r"^(licen[cs]e|copying|notice|unlicense|copyright)([-._].*)?$", re.IGNORECASE)
# Names no holder, so it stands for any crate that may be used under it and ships no text.
APACHE = ROOT / "LICENSE-APACHE"


def compiled(triple):
    """What cargo compiles into the program `crier`: no tool of the build, no test."""
    command = ["cargo", "metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", triple]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    open_ids = [package["id"] for package in metadata["packages"] if package["name"] == "crier" and package["source"] is None]
    found = set()
    while open_ids:
        this = open_ids.pop()
        if this in found:
            continue
        found.add(this)
        for dependency in nodes[this]["deps"]:
            target = packages[dependency["pkg"]]
            macro = all("proc-macro" in kind for part in target["targets"] for kind in [part["kind"]] if "custom-build" not in kind)
            if not macro and any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                open_ids.append(dependency["pkg"])
    crates = [packages[this] for this in found if packages[this]["source"]]
    return sorted(crates, key=lambda crate: (crate["name"], crate["version"]))


def texts(crate):
    folder = Path(crate["manifest_path"]).parent
    named = [folder / crate["license_file"]] if crate["license_file"] else []
    files = named + sorted(path for path in folder.iterdir() if path.is_file() and TEXT.match(path.name) and path not in named)
    if not files:
        files = [APACHE] if "Apache-2.0" in (crate["license"] or "") else []
    if not files:
        sys.exit(f"licenses.py: no text of a licence in {crate['name']} {crate['version']} ({crate['license']})")
    return ["\n".join(line.rstrip() for line in path.read_text(errors="replace").strip().splitlines()) for path in files]


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: licenses.py TRIPLE")
    holders = {}
    print("What others wrote and is part of the program crier: each crate with its licence, then the texts.\n")
    for crate in compiled(sys.argv[1]):
        name = f"{crate['name']} {crate['version']}"
        if not (crate["license"] or crate["license_file"]):
            sys.exit(f"licenses.py: {name} names no licence")
        print(f"{name}: {crate['license'] or 'see its text'}")
        for text in texts(crate):
            holders.setdefault(text, []).append(name)
    for text, names in holders.items():
        print("\n" + "-" * 100)
        print(", ".join(names) + "\n\n" + text)


main()
