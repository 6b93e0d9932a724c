"""What a page says: its blocks in their order, the words between them that name commands, queries, files and sections."""

import dataclasses
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What a block is, by the words after its fence; readers see the first at most.
KINDS = {"sh", "sh background", "sh fails", "sql", "sql fails", "text"}
NOT_RUN = "not run:"


@dataclasses.dataclass
class Block:
    page: str
    line: int  # of its first line
    kind: str  # of KINDS, or what stands after the fence
    text: str
    reason: str = ""  # why it is not run
    shell: str = ""  # `third`, where the words before it say that it is for a third shell

    @property
    def padded(self):
        """With as many lines before it as on the page, so that shells and psql name the page's lines."""
        return "\n" * (self.line - 1) + self.text

    @property
    def at(self):
        return f"{self.page}:{self.line}"


@dataclasses.dataclass
class Order:
    """An HTML comment to the checker: `<!-- check: WORDS -->`."""
    page: str
    line: int
    words: str

    @property
    def at(self):
        return f"{self.page}:{self.line}"


def read(page):
    return (ROOT / page).read_text()


def parts(page):
    """The blocks of a page and the orders between them."""
    found, fence, begin, lines, said = [], None, 0, [], ""
    for number, line in enumerate(read(page).splitlines(), 1):
        if fence is None:
            if line.startswith("```"):
                fence, begin, lines = line[3:].strip(), number + 1, []
                shells = re.findall(r"\b(second|third|fourth)\W+shell\b", said)
            elif order := re.fullmatch(r"<!-- check: (.+) -->", line):
                found.append(Order(page, number, order.group(1)))
            else:
                said += line + "\n"
        elif line.startswith("```"):
            kind, _, reason = fence.partition(NOT_RUN)
            found.append(Block(page, begin, kind.strip(), "\n".join(lines) + "\n", reason.strip(), shells[-1] if shells else ""))
            fence, said = None, ""
        else:
            lines.append(line)
    if fence is not None:
        found.append(Block(page, begin, "a block without an end", ""))
    return found


def prose(page):
    """The text of a page with its blocks left blank, line for line."""
    lines, inside = [], False
    for line in read(page).splitlines():
        # Nor is a comment of Rust something that is said to a reader.
        fence = line.startswith("```")
        lines.append("" if inside or fence or (page.endswith(".rs") and line.lstrip().startswith("//")) else line)
        inside ^= fence
    return "\n".join(lines)


def spans(page):
    """What stands between backticks outside of blocks, with its line; it may go on in the next line. In YAML and Python it is the same."""
    text = prose(page)
    found = re.finditer(r"`([^`\n]+(?:\n[ \t]*[^`\s][^`\n]*)*)`", text)
    return [(text.count("\n", 0, one.start()) + 1, re.sub(r"\s+", " ", one.group(1)).strip()) for one in found]


def anchors(page):
    """The sections of a page, as links name them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page):
    """Files and sections that a page leads to: (line, file, section or nothing)."""
    found = []
    for number, line in enumerate(prose(page).splitlines(), 1):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if not re.match(r"\w+:", target):
                file, _, section = target.partition("#")
                base = (ROOT / page).parent
                found.append((number, (base / file).resolve().relative_to(ROOT.resolve()).as_posix() if file else page, section))
        # Words such as docs/SQL.md, and paths between backticks.
        for target in re.findall(r"(?<![\w/.-])((?:docs|deploy|scripts|crates|config|demo|tests|migrations)/[\w./-]*\w)(#[\w-]+)?", line):
            near = (ROOT / page).parent / target[0]
            file = near.relative_to(ROOT).as_posix() if near.exists() else target[0]
            found.append((number, file, target[1].lstrip("#")))
    return found


def words(command):
    """The words of a command line, without what a shell does to it: comments, pipes, variables before it; none if it is no whole line."""
    try:
        lexer = shlex.shlex(command, posix=True, punctuation_chars="|;&<>")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        tokens = list(lexer)
    except ValueError:
        return None
    for index, token in enumerate(tokens):
        if set(token) <= set("|;&<>"):
            tokens = tokens[:index]
            break
    return tokens
