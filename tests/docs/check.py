#!/usr/bin/env python3
"""Follows the pages as a reader would, and fails where they promise what is not so, naming page and line.

Each block of README.md and of docs/ is run in its order, in a folder and shells of its own, beside a private PostgreSQL and `crier sim`. What stands
after a block's fence, unseen by readers, says how: `sh` and `sql` must succeed; `sh background` goes on in another shell, which keeps what was set in
it where the words before it name it (`third shell`); `sh fails` and `sql fails` must be refused; `text` is what the block before it says, a line `…`
standing for any lines. `not run: REASON` is listed at the end. Nothing else is allowed, so that no block escapes. Between blocks, `<!-- check: stop
-->` is Ctrl-C in the other shells, and `<!-- check: X is @NAME -->` puts a simulator in X's place, with a person who has that account.

Between backticks, on every page, in the alerts and in the hints of crier's own sources: each command line of crier is read by crier itself. On the
pages each query is run (and taken back), each command of the runbook and of the alerts is carried out, and files, sections and `make` targets
that are named are there.

Started beside a PostgreSQL by `make docs-check`. That CLI.md, METRICS.md and CONFIG.md are what the program says is for cargo's tests.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import commands  # noqa: E402
import pages  # noqa: E402
import stages  # noqa: E402
from pages import Block, Order  # noqa: E402
from scene import Fault, Scene, same  # noqa: E402

# Made by the program from itself; cargo's tests compare them.
MADE = {"docs/CLI.md", "docs/CONFIG.md", "docs/METRICS.md"}
# Where commands, queries, files and sections are named beside the pages.
BESIDE = ["CHANGELOG.md", "deploy/prometheus/rules.yml", "deploy/grafana/panels.py", "crates/crier-sim/README.md"]


def everywhere():
    docs = sorted(path.relative_to(pages.ROOT).as_posix() for path in (pages.ROOT / "docs").glob("*.md"))
    return [page for page in ["README.md", *docs, *BESIDE] if page not in MADE]


def follow(page, crier, server):
    """Runs the blocks of a page; answers how many, and those that are not run."""
    parts = pages.parts(page)
    skipped = [part for part in parts if isinstance(part, Block) and part.reason]
    for part in parts:
        if isinstance(part, Block) and not part.reason and part.kind not in pages.KINDS:
            raise Fault(f"{part.at}: a block must say what it is: {', '.join(sorted(pages.KINDS))}, or `{pages.NOT_RUN} REASON`; not `{part.kind}`")
    runs = [part for part in parts if not (isinstance(part, Block) and part.reason)]
    if not runs and page not in stages.INLINE:
        return 0, skipped
    count, before = 0, None
    with Scene(page, crier, server) as scene:
        if page in stages.STAGES:
            stages.STAGES[page](scene)
        for part in runs:
            if isinstance(part, Order):
                obey(scene, part)
                before = None
            elif part.kind == "text":
                if before is None:
                    raise Fault(f"{part.at}: output of no block")
                missing = same(part.text, scene.last)
                if missing is not None:
                    raise Fault(f"{part.at}: the page shows `{missing}`, in its order; what was said is\n{scene.tail(scene.last)}")
            elif part.kind == "sh background":
                scene.go_on(part)
                count += 1
            else:
                scene.run(part)
                scene.alive()
                count += 1
                before = part
        for line, span in stages.INLINE.get(page, list)():
            count += stages.carry_out(scene, page, line, span)
        if page in stages.AFTER:
            stages.AFTER[page](scene)
        scene.stop()
    return count, skipped


def obey(scene, order):
    if order.words == "stop":
        scene.stop()
    elif found := re.fullmatch(r"X is @(\w+)", order.words):
        scene.stand_in(found.group(1))
    else:
        raise Fault(f"{order.at}: no such order: {order.words}")


def readable(crier, page, line, command):
    if fault := commands.read(crier, command)[1]:
        raise Fault(f"{page}:{line}: `{command}` is no command: {fault}")


def query(span):
    return re.match(r"(select|update|insert into|delete from|with) .*\b(crier\.|pg_)", span)


def runnable(text):
    """A query as it stands on a page, with something in the reader's place."""
    text = re.sub(r"\bwhere …", "where false", text)
    text = text.replace("= …", "= 1").replace("(…)", "('x')")
    return re.sub(r"\b(PID|ID)\b", "0", text.replace("…", "x")).rstrip(";")


def queries(crier, server):
    """Runs each query that is named between backticks, and takes it back."""
    named = [(page, line, span) for page in everywhere() for line, span in pages.spans(page) if query(span)]
    if named:
        with Scene("queries", crier, server) as scene:
            database = stages.furnish(scene)
            for page, line, span in named:
                try:
                    scene.psql(database, "-q", text=f"begin;\n{runnable(span)};\nrollback;\n")
                except Fault as fault:
                    raise Fault(f"{page}:{line}: `{span}`: {fault}") from None
    return len(named)


def targets():
    """Files, sections and targets of make that are named are there."""
    makefile = pages.read("Makefile")
    faults, count = [], 0
    for page in everywhere():
        for line, file, section in pages.links(page):
            count += 1
            path = pages.ROOT / file
            if not path.exists() and not path.with_suffix(".md").exists():
                faults.append(f"{page}:{line}: there is no {file}")
            elif section and section not in pages.anchors(file):
                faults.append(f"{page}:{line}: {file} has no section `{section}`")
        for line, span in pages.spans(page):
            for target in re.findall(r"^make ([a-z-]+)", span):
                count += 1
                if not re.search(rf"^{target}:", makefile, re.M):
                    faults.append(f"{page}:{line}: the Makefile has no target `{target}`")
    if faults:
        raise Fault("\n".join(faults))
    return count


def judge(followed, crier, server):
    """What is wrong; and what was done, in numbers, with the blocks that are not run."""
    faults, skipped, blocks = [], [], 0
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = {pool.submit(follow, page, crier, server): page for page in followed}
        named = [*commands.named([*everywhere(), *sorted(MADE)]), *commands.said()]
        read = [pool.submit(readable, crier, *command) for command in named]
        asked = pool.submit(queries, crier, server)
        there = pool.submit(targets)
        for job in [*jobs, *read, asked, there]:
            try:
                answer = job.result()
            except Fault as fault:
                faults.append(str(fault))
                continue
            if job in jobs:
                blocks += answer[0]
                skipped += answer[1]
    if not faults:
        return faults, f"{blocks} blocks and steps of {len(followed)} pages run, {len(named)} command lines read, {asked.result()} queries run, {there.result()} names found", skipped
    return faults, "", skipped


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--crier", required=True, help="the binary")
    options.add_argument("pages", nargs="*", help="only these")
    options = options.parse_args()
    crier, server = str(pathlib.Path(options.crier).resolve()), os.environ["DATABASE_URL"]
    import drift  # which asks this module
    for program in ("bash", "curl", "psql", "createdb", "pg_dump", "pg_restore"):
        if not shutil.which(program):
            sys.exit(f"docs: pages use `{program}`, which is not here: install it")
    try:
        lies = drift.prove(crier, server)
    except Fault as fault:
        sys.exit(str(fault))
    faults, done, skipped = judge(options.pages or [page for page in everywhere() if page not in BESIDE], crier, server)
    if faults:
        sys.exit("\n".join(faults))
    for block in skipped:
        print(f"not run: {block.at}: {block.reason}")
    print(f"docs: {done}; {lies} lies found in pages that lie")


if __name__ == "__main__":
    # One module, whoever imports it.
    sys.modules["check"] = sys.modules["__main__"]
    main()
