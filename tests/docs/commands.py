"""Command lines of crier wherever they are named, and whether crier reads them."""

import re
import subprocess

import pages
from pages import Block

# Words in commands that stand for a reader's own.
OWN = {"COMMAND": "jobs", "ID": "1", "POST_ID": "1", "JOB": "1", "USD": "5", "…": "x"}


def named(where):
    """Every command line of crier: page, line, words as they stand."""
    for page in where:
        for line, span in pages.spans(page):
            if re.match(r"(\w+=\S* )*crier \S", span):
                yield page, line, re.sub(r"^(\w+=\S* )+", "", span)
        if page.endswith(".md"):
            for block in pages.parts(page):
                if isinstance(block, Block) and block.kind.split(" ")[0] != "text":
                    for offset, line in enumerate(block.text.splitlines()):
                        # Pages that are made hold help: commands are its examples, which stand apart.
                        if not block.kind and not line.startswith("  "):
                            continue
                        for found in re.findall(r"(?:^ *|[|;(] *|&& *|-- *|exec \w+ )(?:\w+=\S* )*(crier [^|;)&]*)", re.sub(r"^\s*#.*", "", line)):
                            yield page, block.line + offset, found


def said():
    """Those that crier itself names: in hints, in help, and in the words of functions of the database."""
    for file in sorted([*pages.ROOT.glob("crates/*/src/**/*.rs"), *pages.ROOT.glob("migrations/*.sql")]):
        page = file.relative_to(pages.ROOT).as_posix()
        for line, span in pages.spans(page):
            if re.match(r"crier [a-z]", span):
                # What is put in when it is said: `{}` of Rust, `%s` of Postgres.
                yield page, line, re.sub(r"\{[^}]*\}|%s", "1", re.sub(r"\{\w*\}(?=--)", "", span)).replace('\\"', '"')


def read(crier, command):
    """Whether crier takes it for a whole line, and why not. It reads the line before its settings, of which one is none here."""
    words = pages.words(command.replace("[", "").replace("]", ""))
    if not words:
        return False, "a shell does not read it"
    words = words[1:]
    cut = len(words) > 0 and words[-1] == "…" and not (len(words) > 1 and words[-2].startswith("--"))
    words = [OWN.get(word, word) for word in (words[:-1] if cut else words)]
    if "--config" in words:
        words[words.index("--config") + 1] = str(pages.ROOT / "config" / "crier.yaml")
    # A name of a command, perhaps with an option, is no line to be typed.
    name = all(re.fullmatch(r"(--)?[a-z][a-z0-9-]*", word) for word in words)
    done = ask(crier, words)
    if "CRIER__NO__SETTING" in done.stderr or done.returncode == 0:
        return not cut, None
    if (name or cut) and "required arguments were not provided" in done.stderr:
        return False, None
    # A word that has only words below it answers with its help.
    if name and words and ask(crier, [*words, "--help"]).returncode == 0 and "Commands:" in done.stderr:
        return False, None
    return False, done.stderr.strip() or "it is refused"


def ask(crier, words):
    return subprocess.run([crier, *words], env={"CRIER__NO__SETTING": "1"}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
