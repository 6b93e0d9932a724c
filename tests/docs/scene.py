"""A place in which a page is followed: a folder, a shell, a database server, and crier on ports of its own."""

import os
import pathlib
import random
import re
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

# The longest that a block may take.
PATIENCE = 90
# The ports that pages name.
PORTS = {"sim": 8090, "exporter": 9187}

# crier as the page has it, on ports of its own; a simulator stands where X would be once the page says so.
CRIER = """#!/bin/sh
[ -f "{folder}/x" ] && [ "${{CRIER__X__BASE_URL:-https://api.x.com}}" = https://api.x.com ] && export CRIER__X__BASE_URL="$(cat "{folder}/x")"
[ "$*" = sim ] && set -- sim --listen 127.0.0.1:{sim}
export CRIER__EXPORTER__LISTEN="127.0.0.1:{exporter}"
exec {crier} "$@"
"""

DRIVER = """set -eEuo pipefail
trap 'printf "line %s\\n" "$LINENO" >&{pipe}' ERR
"""


class Fault(Exception):
    """What is wrong, with page and line."""


def free_port():
    """A port below those that outgoing connections get, so that none of them takes it before its server does."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def until(what, ask, seconds=PATIENCE):
    """Asks until it is so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.1)
    raise Fault(f"not within {seconds} s: {what}")


class Scene:
    def __init__(self, page, crier, server):
        self.page, self.crier, self.server = page, crier, server
        self.name = re.sub(r"\W", "_", page.lower()) + f"_{random.getrandbits(32):08x}"
        self.ports = {what: free_port() for what in PORTS}
        self.words = []  # what the page leaves to the reader, as (pattern, replacement)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="crier-docs-"))
        (self.folder / "bin").mkdir()
        (self.folder / "home").mkdir()
        shim = self.folder / "bin" / "crier"
        shim.write_text(CRIER.format(folder=self.folder, crier=crier, **self.ports))
        shim.chmod(0o755)
        address = urllib.parse.urlsplit(server)
        self.env = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": str(self.folder / "home"), "LC_ALL": "C.UTF-8", "PSQLRC": "/dev/null", "PAGER": "cat",
            "PGHOST": address.hostname, "PGPORT": str(address.port), "PGUSER": address.username, "USER": address.username}
        self.background, self.known, self.last, self.person = [], set(), "", "acme"
        self.others = {}  # the other shells that the page names, each with the file of what it has set
        self.shell, self.pipe = None, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child, *_ in self.background:
            self.kill(child, signal.SIGKILL)
        if self.shell:
            self.kill(self.shell, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def kill(child, how):
        try:
            os.killpg(child.pid, how)
        except ProcessLookupError:
            pass
        if how == signal.SIGKILL:
            child.wait()

    # The database server.

    def database(self, name):
        """The address of a database of this scene, made when it is first asked for."""
        name = f"{self.name}_{name}"
        address = self.server.rsplit("/", 1)[0] + f"/{name}"
        if name not in self.known:
            self.known.add(name)
            self.psql(self.server, "-qc", f'create database "{name}"')
        return address

    def psql(self, database, *args, text=None):
        """What psql says; its refusal is an error."""
        done = subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", *args, database], input=text, capture_output=True, text=True, env=self.env)
        if done.returncode:
            raise Fault(done.stderr.strip())
        return done.stdout.strip()

    # The shell of the page.

    def begin(self):
        get, put = os.pipe()
        self.shell = subprocess.Popen(["bash", "--norc", "--noprofile"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                      pass_fds=[put], cwd=self.folder, env=self.env, start_new_session=True)
        os.close(put)
        self.pipe, self.put = get, put
        self.tell(DRIVER.format(pipe=put))

    def tell(self, text):
        self.shell.stdin.write(text.encode())
        self.shell.stdin.flush()

    def own(self, text):
        """The page's words with what this place has in their stead."""
        text = re.sub(r"postgres://postgres:password@127\.0\.0\.1:5432/(\w+)", lambda found: self.database(found.group(1)), text)
        for what, port in PORTS.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.ports[what]}")
        for pattern, replacement in self.words:
            text = re.sub(pattern, replacement, text)
        return text

    def pages(self, text):
        """The other way round: what was said here, as it would be said on a reader's machine."""
        for what, port in PORTS.items():
            text = text.replace(f"127.0.0.1:{self.ports[what]}", f"127.0.0.1:{port}")
        return text

    def file(self, block, suffix):
        path = self.folder / f"{pathlib.Path(block.page).name}-{block.line}.{suffix}"
        path.write_text(self.own(block.padded))
        return path

    def run(self, block):
        """Runs a block in the page's shell. What it says is kept for the block of output that may follow."""
        if self.shell is None:
            self.begin()
        out = self.folder / f"{block.line}.out"
        out.touch()
        if block.kind.startswith("sql"):
            command = f'psql -X -v ON_ERROR_STOP=1 -f "{self.file(block, "sql")}" "$DATABASE_URL"'
        else:
            command = f'source "{self.file(block, "sh")}"'
        if block.kind.endswith(" fails"):
            script = self.folder / "fails.sh"
            script.write_text(f"set -euo pipefail\n{command}\n")
            command = f'if bash "{script}"; then false; fi'
        self.tell(f'{command} >"{out}" 2>&1 </dev/null\necho done >&{self.put}\n')
        lines = self.answers(out)
        self.last = self.pages(out.read_text(errors="replace"))
        if lines != ["done"]:
            where = lines[0].removeprefix("line ") if lines and not block.kind.startswith("sql") and not block.kind.endswith(" fails") else block.line
            what = "was to fail and did not" if block.kind.endswith(" fails") else "failed"
            raise Fault(f"{block.page}:{where}: {what}\n{self.tail(self.last)}{self.said()}")

    def answers(self, out):
        """What the shell tells of a block, until it is done or the shell has ended; in between, a person with a browser."""
        lines, rest, opened, end = [], b"", False, time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as ready:
            ready.register(self.pipe, selectors.EVENT_READ)
            while time.monotonic() < end:
                if ready.select(0.1):
                    read = os.read(self.pipe, 4096)
                    if not read:
                        return lines
                    rest += read
                    *whole, rest = rest.split(b"\n")
                    lines += [line.decode() for line in whole]
                    if "done" in lines:
                        return lines
                if not opened:
                    opened = self.consent(out.read_text(errors="replace"))
        return [*lines, "nothing, in time"]

    def consent(self, said):
        """A person who opens the address that a login prints, and says yes."""
        found = re.search(r"^\s*(http://127\.0\.0\.1:\d+/\S*authorize\?\S+)$", said, re.M)
        if not found:
            return False
        page = urllib.parse.urlsplit(found.group(1))
        form = f"{page.query}&decision=allow&account={self.person}"
        try:
            with urllib.request.urlopen(page._replace(query="").geturl(), data=form.encode(), timeout=30) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            raise Fault(f"{self.page}: the page of consent answers {error.code}: {error.read().decode()}") from None
        return True

    # The other shells.

    def go_on(self, block):
        """Another shell; what runs there goes on. It is there once it says something. One that the page names (`third shell`) begins with what
        the first one has set, and from then on knows what was said in it alone; one without a name is a new one each time."""
        if self.shell is None:
            self.begin()
        begin = self.others.get(block.shell)
        if not begin:
            begin = self.folder / "environment"
            self.tell(f'env -0 >"{begin}"; echo done >&{self.put}\n')
            if self.answers(begin) != ["done"]:
                raise Fault(f"{block.at}: the first shell has ended")
        until(f"{block.at}: the shell before has set its variables", begin.exists)
        env = dict(pair.split("=", 1) for pair in begin.read_text().split("\0") if "=" in pair)
        kept = self.folder / f"environment-{len(self.others)}-{len(self.background)}-{block.line}"
        if block.shell:
            self.others[block.shell] = kept
        # What is set is kept before each command, whole or not at all: the last one goes on until Ctrl-C.
        keep = f"""set -T; trap 'env -0 >"{kept}.new" && mv "{kept}.new" "{kept}"' DEBUG; source "{self.file(block, "sh")}\""""
        self.start(["bash", "-euo", "pipefail", "-c", keep], block.at, env, env["PWD"])

    def start(self, words, what, env=None, folder=None):
        out = self.folder / f"background-{len(self.background)}.out"
        with out.open("wb") as to:
            child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=to, stderr=subprocess.STDOUT, env=env or self.env, cwd=folder or self.folder, start_new_session=True)
        self.background.append((child, what, out))
        until(f"{what} says something", lambda: out.read_text(errors="replace") or child.poll() is not None)
        self.alive()
        return out

    def alive(self):
        for child, what, out in self.background:
            if child.poll() is not None:
                raise Fault(f"{what}: ended with {child.returncode}\n{self.tail(out.read_text(errors='replace'))}")

    def stop(self):
        """Ctrl-C in the other shells, the last first."""
        self.alive()
        for child, what, out in reversed(self.background):
            self.kill(child, signal.SIGINT)
            until(f"{what} ends after Ctrl-C", lambda: child.poll() is not None)
            if child.returncode:
                raise Fault(f"{what}: Ctrl-C ended it with {child.returncode}\n{self.tail(out.read_text(errors='replace'))}")
        self.background = []

    def said(self):
        """What the other shells said last, for whoever has to find a fault."""
        return "".join(f"\n-- {what} said:\n{self.tail(out.read_text(errors='replace'))}" for _, what, out in self.background)

    @staticmethod
    def tail(text):
        return "\n".join("   | " + line for line in text.strip().splitlines()[-15:])

    # X.

    def account(self, handle, base=None):
        """A user of the simulator, as its control path answers."""
        base = base or f"http://127.0.0.1:{self.ports['sim']}"
        with urllib.request.urlopen(f"{base}/_sim/accounts", data=f'{{"username": "{handle}"}}'.encode(), timeout=30) as answer:
            return answer.read()

    def stand_in(self, handle):
        """From here on a simulator of its own is X, and a person with this account has a browser."""
        base = f"http://127.0.0.1:{free_port()}"
        self.start(["crier", "sim", "--listen", base.removeprefix("http://")], "the simulator in X's place")
        self.account(handle, base)
        self.person = handle
        (self.folder / "x").write_text(base)


def same(shown, said):
    """The first line of a page that was not said in its order; none if all were. Numbers that differ from run to run may; `…` stands for
    anything in a line, and alone for any lines: what is left out at the begin and at the end needs none."""
    rest = plain(said)
    for line in plain(shown):
        if line == "…":
            continue
        pattern = ".*".join(re.escape(part) for part in line.split("…"))
        found = next((index for index, one in enumerate(rest) if re.fullmatch(pattern, one)), None)
        if found is None:
            return line
        rest = rest[found + 1:]
    return None


def plain(text):
    """Lines with what differs from run to run taken out."""
    text = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|\+\d\d(:?\d\d)?)?", "<time>", text)
    text = re.sub(r"\d\d:\d\d:\d\d(\.\d+)?", "<span>", text)
    text = re.sub(r"\b\d+ ms\b", "<span>", text)
    text = re.sub(r"\b\d{10,}\b", "<id>", text)
    return [re.sub(r"\s+", " ", re.sub(r"-{4,}", "-", line)).strip() for line in text.splitlines() if line.strip()]
