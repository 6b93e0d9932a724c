#!/usr/bin/env python3
"""Carries out the Dockerfile's own instructions in clean roots, since no container engine is needed for that, then looks at what came out.

Each FROM is a minimal Debian of the image's suite, made by debootstrap; each RUN runs in it by chroot, each COPY copies into it. The image of the
compiler is that Debian with what its makers add (gcc, libc6-dev, ca-certificates) and this machine's own toolchain, which must be of the
version that the tag names. cargo works offline there, on this machine's registry: a cache mount is a folder of this machine.
Then crier runs as the image's user on a root that may only be read, beside a real Postgres, in a network of its own.

    check.py                  all of it; the first build takes many minutes, later ones use its cache
    check.py --binary FILE    without the RUN that compiles: FILE stands for what it makes

It needs root, for chroot and mounts. Exit code 2 if it cannot be carried out here, in words."""

import argparse
import ctypes
import fcntl
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import instructions as docker

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tools"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What the makers of the compiler's slim image install into their Debian.
COMPILER = ["ca-certificates", "gcc", "libc6-dev"]
# Where installing packages and adding a user leave traces, beside the files of the packages themselves.
TRACES = re.compile(
    r"etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|etc/\.pwd\.lock|etc/(ld\.so\.cache|ca-certificates\.conf)|etc/ssl/certs/.*"
    r"|var/(lib/(dpkg|apt|pam)|cache/(debconf|ldconfig|apt)|log)/.*|usr/local/share/ca-certificates|etc/ca-certificates/.*"
)


def say(words):
    print(words, flush=True)


def stop(words):
    print(f"check.py: {words}", file=sys.stderr)
    sys.exit(2)


def run(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, **more)


def mount(*words):
    run("mount", *words)


class Root:
    """A folder that is the root of a system while a stage is carried out in it."""

    def __init__(self, folder, suite):
        self.folder = folder
        self.workdir = "/"
        self.variables = {"PATH": PATH, "HOME": "/root"}
        self.user = "0:0"
        self.entrypoint, self.cmd, self.volumes, self.ports = [], [], [], []
        run(ROOT / "scripts/root", suite, folder)
        mount("-t", "proc", "proc", folder / "proc")
        mount("-t", "devpts", "devpts", folder / "dev/pts")

    def inside(self, path):
        """Where a path of the system's is on this machine."""
        return self.folder / os.path.normpath(os.path.join(self.workdir, path)).lstrip("/")

    def shell(self, command):
        """A RUN: by the shell, with the stage's variables and nothing of ours."""
        words = ["chroot", self.folder, "/bin/sh", "-c", f'cd "{self.workdir}" && {command}']
        begin = time.monotonic()
        with open(f"{self.folder}.log", "w+") as log:
            words = ["env", "-i", *(f"{name}={value}" for name, value in self.variables.items()), *words]
            code = subprocess.run(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL).returncode
            log.seek(0)
            lines = log.read().splitlines()
        hold(code == 0, "\n".join(lines[-40:] + [f"the step ends with {code}; its last words are above"]))
        say(f"    done in {time.monotonic() - begin:.0f} s; its last words: {lines[-1].strip() if lines else 'none'}")

    def install(self, packages):
        self.shell(f"apt-get -qq update && apt-get -qq install -y --no-install-recommends {' '.join(packages)}")

    def files(self):
        """Every path in it with its kind, without what the kernel shows."""
        found = {}
        for folder, folders, files in os.walk(self.folder):
            here = Path(folder).relative_to(self.folder)
            if str(here) == ".":
                folders[:] = [name for name in folders if name not in ("proc", "sys", "dev")]
            for name in folders + files:
                path = str(here / name)
                found[path] = os.lstat(self.folder / path).st_mode
        return found


def toolchain(root, version):
    """This machine's compiler, where the image has its own."""
    rustc = subprocess.run(["rustc", "--version"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[1]
    if not f"{rustc}.".startswith(f"{version}."):
        stop(f"the image's compiler is {version}, and this machine's is {rustc}")
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    place = root.folder / "usr/local/rustup"
    place.mkdir(parents=True)
    mount("--bind", "-o", "ro", sysroot, place)
    mount("-o", "remount,bind,ro", place)
    root.variables |= {"CARGO_HOME": "/usr/local/cargo", "CARGO_NET_OFFLINE": "true", "PATH": f"/usr/local/rustup/bin:{PATH}"}
    say(f"  compiler: this machine's {rustc}, offline")


def base(stage, folder, compiles):
    """The root that a FROM begins with."""
    match = re.fullmatch(r"debian:([a-z]+)-slim|rust:([\d.]+)-slim-([a-z]+)", stage.image)
    if not match:
        stop(f"FROM {stage.image}: no clean root is known for it")
    root = Root(folder, match[1] or match[3])
    if match[2] and compiles:
        root.install(COMPILER)
        toolchain(root, match[2])
    return root


def caches(root, instruction):
    """Binds the cache mounts of a RUN, and says which folders they cover."""
    covered = []
    for name, value in instruction.flags:
        options = dict(pair.split("=", 1) for pair in value.split(","))
        if name != "mount" or options.keys() != {"type", "target"} or options["type"] != "cache":
            stop(f"RUN --{name}={value}: this check knows cache mounts only")
        target = options["target"]
        if target == "/usr/local/cargo/registry":
            source = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "registry"
        else:
            source = TOOLS / "image-cache" / target.strip("/").replace("/", "-")
            source.mkdir(parents=True, exist_ok=True)
        place = root.inside(target)
        place.mkdir(parents=True, exist_ok=True)
        mount("--bind", source, place)
        covered.append(place)
    return covered


def copy(root, instruction, stages, context):
    *sources, target = instruction.rest.split()
    place = root.inside(target)
    if name := instruction.flag("from"):
        (source,) = sources
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(stages[name].inside(source), place)
        os.chown(place, 0, 0)
    elif sources == ["."]:
        for source in context:
            run("cp", "--recursive", "--no-target-directory", source, place / source.name)
    else:
        stop(f"COPY {instruction.rest}: this check copies `.` or from a stage")


def carry_out(stage, root, stages, context, binary):
    for instruction in stage.instructions:
        shown = " ".join([instruction.word, *(f"--{name}={value}" for name, value in instruction.flags), instruction.rest])
        say(f"  {shown if len(shown) < 150 else shown[:147] + '…'}")
        if instruction.word == "WORKDIR":
            root.workdir = instruction.rest
            root.inside(".").mkdir(parents=True, exist_ok=True)
        elif instruction.word == "ENV":
            root.variables |= docker.variables(instruction)
        elif instruction.word == "COPY":
            copy(root, instruction, stages, context)
        elif instruction.word == "RUN" and binary and "cargo build" in instruction.rest:
            (made,) = re.findall(r"install -D -m 0755 \S+ (\S+)$", instruction.rest)
            say(f"    not compiled: {binary} stands for {made}")
            run("install", "-D", "-m", "0755", binary, root.inside(made))
        elif instruction.word == "RUN":
            covered = caches(root, instruction)
            root.shell(instruction.rest)
            for place in covered:
                run("umount", place)
        elif instruction.word == "USER":
            root.user = instruction.rest
        elif instruction.word == "VOLUME":
            root.volumes = instruction.listed()
        elif instruction.word == "EXPOSE":
            root.ports = instruction.rest.split()
        elif instruction.word == "ENTRYPOINT":
            root.entrypoint = instruction.listed()
        elif instruction.word == "CMD":
            root.cmd = instruction.listed()


def hold(condition, words):
    if not condition:
        print(f"check.py: {words}", file=sys.stderr)
        sys.exit(1)


def look_at_files(root, before):
    """Nothing is in the image but the base, the packages that it names, the user's traces, and crier."""
    after = root.files()
    packaged = set()
    for listing in (root.folder / "var/lib/dpkg/info").glob("*.list"):
        for line in listing.read_text().splitlines():
            path = line.lstrip("/")
            # /lib is /usr/lib.
            packaged |= {path, f"usr/{path}"}
    new = sorted(path for path in after if path not in before and path not in packaged and not TRACES.fullmatch(path))
    wanted = ["media", "rescue", "spool", "usr/local/bin/crier"]
    hold(set(new) <= set(wanted), f"the image holds what nobody asked for: {', '.join(path for path in new if path not in wanted)}")
    hold("usr/local/bin/crier" in new, "the image holds no crier")
    gone = sorted(path for path in before if path not in after and not TRACES.fullmatch(path))
    hold(not gone, f"the image lacks what its base has: {', '.join(gone)}")
    user = tuple(int(number) for number in root.user.split(":"))
    # A new volume takes the folder's owner over: compose.yaml has one at /rescue.
    for folder in root.volumes + [root.variables["CRIER__MEDIA__ROOT"], "/rescue"]:
        status = os.stat(root.inside(folder))
        hold((status.st_uid, status.st_gid) == user, f"{folder} belongs to {status.st_uid}, not to {root.user}")
        hold(stat.S_IMODE(status.st_mode) == 0o750, f"{folder} has the mode {status.st_mode:o}")
    lists = [path for path in after if path.startswith("var/lib/apt/lists/") and not path.endswith(("/partial", "/lock", "/auxfiles"))]
    hold(not lists, f"lists of packages are left: {lists[:3]}")
    size = sum(os.lstat(root.folder / path).st_size for path, mode in after.items() if stat.S_ISREG(mode))
    program = os.stat(root.inside("/usr/local/bin/crier"))
    hold((program.st_uid, stat.S_IMODE(program.st_mode)) == (0, 0o755), "crier is not root's, or may be changed")
    say(f"files: the base, its packages, crier ({program.st_size >> 20} MiB), /media, /rescue and /spool; {size >> 20} MiB in all, base included")


class Container:
    """The image as an engine would run it: its user, no rights, a root that may only be read, its volumes and a network of its own."""

    def __init__(self, root, scratch):
        self.root = root
        self.user, self.group = (int(number) for number in root.user.split(":"))
        mount("--bind", root.folder, root.folder)
        mount("-o", "remount,bind,ro", root.folder)
        # A mount on a mount hides what was below it.
        mount("-t", "proc", "proc", root.folder / "proc")
        secrets = scratch / "secrets"
        secrets.mkdir()
        self.secrets = secrets
        mount("--bind", secrets, root.folder / "mnt")
        for number, volume in enumerate(root.volumes):
            place = scratch / f"volume{number}"
            place.mkdir()
            os.chown(place, self.user, self.group)
            mount("--bind", place, root.inside(volume))

    def drop(self):
        os.chroot(self.root.folder)
        os.chdir("/")
        os.setgroups([])
        os.setgid(self.group)
        os.setuid(self.user)
        ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS

    def start(self, *words, entrypoint=None, **more):
        words = (self.root.entrypoint if entrypoint is None else entrypoint) + (list(words) or self.root.cmd)
        variables = self.root.variables | {"HOME": "/nonexistent", "CRIER__DATABASE__URL_FILE": "/mnt/database_url", "CRIER__SECRETS__KEY_FILE": "/mnt/key"}
        return subprocess.Popen(words, env=variables, preexec_fn=self.drop, text=True, **more)

    def say(self, *words, **more):
        process = self.start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        said, words = process.communicate(timeout=60)
        return process.returncode, (said or words).strip()


def live(container, url):
    """What its user would see."""
    code, text = container.say()
    hold(code == 0 and "Usage: crier" in text, f"without a word it says: {text}")
    code, text = container.say("--version")
    hold(code == 0 and text.startswith("crier "), f"--version says: {text}")
    say(f"as {container.root.user}: {text}")
    for path in ["/x", "/usr/local/bin/crier", "/media/x", "/tmp/x"]:
        code, text = container.say("-c", f": >>{path}", entrypoint=["/bin/sh"])
        hold(code != 0, f"{path} could be written")
    code, text = container.say("-c", "grep -E '^(Uid|CapEff|NoNewPrivs)' /proc/self/status && : >/spool/x && rm /spool/x", entrypoint=["/bin/sh"])
    hold(code == 0 and "CapEff:\t0000000000000000" in text, f"rights: {text}")
    say("root: nothing of it can be written, /spool can; no rights are held")

    code, text = container.say("health")
    hold(code == 1 and "is not ready" in text, f"health before anything runs: {code} {text}")
    say(f"health, before: {text.splitlines()[0]}")
    (container.secrets / "database_url").write_text(url)
    code, key = container.say("keys", "new")
    hold(code == 0, f"keys new: {key}")
    (container.secrets / "key").write_text(key)
    code, text = container.say("migrate")
    hold(code == 0, f"migrate: {text}")
    process = container.start("run", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + 60
        while (answer := container.say("health"))[0] != 0 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
        hold(answer[0] == 0 and answer[1].endswith("is ready"), f"health: {answer} {process.stderr.read() if process.poll() is not None else ''}")
        say(f"health, running: {answer[1]}")
        code, text = container.say("--json", "health", "--alive")
        hold(code == 0 and '"alive"' in text, f"health --alive: {text}")
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=40)
        hold(process.returncode == 0, f"run ends with {process.returncode}: {log}")
        hold(all(line.startswith("{") for line in log.splitlines()), f"its log is not JSON: {log}")
    finally:
        process.kill()
    code, text = container.say("health")
    hold(code == 1, f"health after the end: {text}")
    say(f"SIGTERM: ended by itself with 0, {len(log.splitlines())} lines of log, all JSON")


def network():
    """A network of its own, in which only the loopback is, and that is down at first."""
    if ctypes.CDLL(None).unshare(0x40000000) != 0:  # CLONE_NEWNET
        stop("no network of its own can be had")
    with socket.socket() as it:
        fcntl.ioctl(it, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, help="stands for what the RUN that compiles makes")
    options = parser.parse_args()
    if os.geteuid() != 0:
        stop("a clean root needs root, for chroot and mounts: run it as root, or with sudo")
    # Whatever is mounted from here on is gone with this process.
    if os.environ.get("CRIER_IMAGE_CHECK") != "apart":
        os.environ["CRIER_IMAGE_CHECK"] = "apart"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])

    stages = docker.read(ROOT / "deploy/docker/Dockerfile")
    context = docker.sent(ROOT, ROOT / "deploy/docker/Dockerfile.dockerignore")
    TOOLS.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="image.", dir=TOOLS))
    scratch.chmod(0o755)
    try:
        roots = {}
        for number, stage in enumerate(stages):
            say(f"FROM {stage.image}")
            folder = scratch / f"stage{number}"
            root = base(stage, folder, compiles=not options.binary)
            before = root.files()
            roots[stage.name] = root
            carry_out(stage, root, roots, context, options.binary)
        look_at_files(root, before)
        network()
        server = [ROOT / "scripts/with-postgres", "sh", "-c", 'echo "$DATABASE_URL"; cat']
        with subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as postgres:
            try:
                url = postgres.stdout.readline().strip()
                hold(url, "no Postgres to run it beside")
                live(Container(root, scratch), url)
            finally:
                # It ends when its command has nothing more to read.
                postgres.stdin.close()
                postgres.wait(timeout=30)
    finally:
        with open("/proc/self/mounts") as mounts:
            ours = [line.split()[1] for line in mounts if str(scratch) in line]
        for place in reversed(ours):
            subprocess.run(["umount", "--lazy", place], check=False)
        shutil.rmtree(scratch, ignore_errors=True)


main()
