"""Pages that lie, each in one way: the checker must find each, and say where. `check.py` runs this first: what is not seen to fail proves nothing."""

import pathlib
import tempfile

import check
import pages
from scene import Fault

SH, BACKGROUND, FAILS, SQL, TEXT = "```sh\n", "```sh background\n", "```sh fails\n", "```sql\n", "```text\n"
END = "```\n"
UP = "trap 'exit 0' INT; echo up; while :; do sleep 0.1; done\n"
# A page, the line that is wrong, and a part of what is said of it.
LIES = [
    (f"# A\n\n{SH}true\nfalse\n{END}", 5, "failed"),
    (f"{SH}true | false | true\n{END}", 2, "failed"),
    (f"{SH}cat <<'END'\n\nEND\ncrier jobs wotch 1\n{END}", 5, "unrecognized subcommand"),
    (f"{SH}echo $NOT_SET\n{END}", 2, "NOT_SET"),
    (f"{FAILS}true\n{END}", 2, "was to fail and did not"),
    (f"{SH}echo one\n{END}\n{TEXT}two\n{END}", 6, "the page shows `two`"),
    (f"{SH}printf 'one\\ntwo\\n'\n{END}\n{TEXT}two\none\n{END}", 6, "the page shows `one`"),
    (f"{TEXT}one\n{END}", 2, "output of no block"),
    (f"```\ntrue\n{END}", 2, "must say what it is"),
    (f"```bash\ntrue\n{END}", 2, "must say what it is"),
    (f"{SH}true\n", 2, "without an end"),
    (f"{BACKGROUND}echo up; false\n{END}\n{SH}sleep 1\n{END}", 2, "ended with 1"),
    (f"{BACKGROUND}trap 'exit 3' INT; echo up; while :; do sleep 0.1; done\n{END}\n{SH}true\n{END}", 2, "Ctrl-C ended it with 3"),
    (f"{SH}export A=1\n{END}\nIn a second shell:\n\n{BACKGROUND}{UP}{END}\n<!-- check: stop -->\n{SH}export A=2\n{END}\n"
     f"In the second shell:\n\n{BACKGROUND}test $A = 2\n{UP}{END}\n{SH}true\n{END}", 19, "ended with 1"),
    ("<!-- check: dance -->\n" + f"{SH}true\n{END}", 1, "no such order"),
    (f"{SH}export DATABASE_URL=postgres://postgres:password@127.0.0.1:5432/a\n{END}\n{SQL}select 1;\n\nselect 1 from nowhere;\n{END}", 6, "LIES.md-6.sql:8: ERROR"),
    ("Say `crier jobs wotch`.\n", 1, "is no command"),
    ("One\n`crier jobs list --no-such-option`.\n", 2, "is no command"),
    ("`crier jobs settle ID`\n", 1, "is no command"),
    ("`crier jobs settle ID --published`\n", 1, "is no command"),
    ("```sh not run: no reason\ncrier jobs wotch\n```\n", 2, "is no command"),
    ("[a link](nowhere.md)\n", 1, "there is no nowhere.md"),
    ("see docs/NOWHERE.md\n", 1, "there is no docs/NOWHERE.md"),
    ("# One\n[a link](#two)\n", 2, "has no section `two`"),
    ("`make nothing`\n", 1, "has no target `nothing`"),
    ("# One\n\nTwo `three` and `crier\njobs wotch` is\n", 3, "is no command"),
    ("\n`select wrong from crier.jobs`\n", 2, 'column "wrong" does not exist'),
]
# What must pass, so that what fails above fails for the reason that is given.
TRUE = (
    f"# One\n[a link](#one) `crier jobs list --state failed`, `crier jobs`, `crier jobs settle ID --absent`, `crier jobs …`, `select id from crier.jobs where id = …`\n{SH}export A=1\n{END}\n"
    f"{BACKGROUND}trap 'exit 0' INT; echo up $A; while :; do sleep 0.1; done\n{END}\n{SH}echo $A 2030-01-01 09:00:00Z and more\n{END}\n{TEXT}1 2031-01-01 10:00:00Z …\n{END}\n{FAILS}test $A = 2\n{END}"
    f"\nIn a **third shell**:\n\n{BACKGROUND}export B=$A\n{UP}{END}\n<!-- check: stop -->\n{SH}export A=2\n{END}\n"
    f"Then, in the third shell:\n\n{BACKGROUND}test $A$B = 11\n{UP}{END}")


def prove(crier, server):
    """Answers how many lies were found; one that was not is a fault."""
    root, everywhere, made = pages.ROOT, check.everywhere, check.MADE
    makefile = pages.read("Makefile")
    with tempfile.TemporaryDirectory(prefix="crier-docs-") as folder:
        pages.ROOT, check.everywhere = pathlib.Path(folder), lambda: ["LIES.md"]
        check.MADE = set()
        (pages.ROOT / "Makefile").write_text(makefile)
        (pages.ROOT / "config").mkdir()
        try:
            found = faults(TRUE, crier, server)
            if found:
                raise Fault(f"the checker finds a fault in a page that has none: {found}")
            hint = pages.ROOT / "crates" / "a" / "src" / "hint.rs"
            hint.parent.mkdir(parents=True)
            hint.write_text('// `crier wotch`\nlet hint = "see `crier jobs wotch {id}`";\n')
            found = faults(TRUE, crier, server)
            if len(found) != 1 or "hint.rs:2: " not in found[0]:
                raise Fault(f"a hint that lies is not found alone: {found}")
            hint.unlink()
            for page, line, part in LIES:
                found = faults(page, crier, server)
                if not any(fault.startswith(f"LIES.md:{line}: ") and part in fault for fault in found):
                    raise Fault(f"the checker does not say `{part}` of line {line} of\n{page}\nbut: {found}")
        finally:
            pages.ROOT, check.everywhere, check.MADE = root, everywhere, made
    return len(LIES)


def faults(page, crier, server):
    (pages.ROOT / "LIES.md").write_text(page)
    return check.judge(["LIES.md"], crier, server)[0]
