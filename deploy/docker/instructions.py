"""Reads a Dockerfile into its instructions, as far as ours goes: what it does not know is refused, never passed over."""

import json
import re
import shlex
from dataclasses import dataclass, field


@dataclass
class Instruction:
    """One instruction: its word, its `--name=value` flags, and the rest."""

    word: str
    flags: list = field(default_factory=list)
    rest: str = ""

    def flag(self, name):
        return next((value for known, value in self.flags if known == name), None)

    def listed(self):
        """The words of the form that is JSON: `["a", "b"]`."""
        return json.loads(self.rest)


@dataclass
class Stage:
    """From one FROM to the next."""

    image: str
    name: str
    instructions: list = field(default_factory=list)


KNOWN = {"FROM", "WORKDIR", "ENV", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "ENTRYPOINT", "CMD"}


def read(path):
    """The stages of a Dockerfile."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    stages = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip():
            continue
        word, rest = line.strip().split(None, 1)
        if word not in KNOWN:
            raise SystemExit(f"{path}: `{word}` is not an instruction that this check can carry out")
        instruction = Instruction(word)
        while match := re.match(r"--([a-z]+)=(\S+)\s+", rest):
            instruction.flags.append(match.groups())
            rest = rest[match.end() :]
        instruction.rest = " ".join(rest.split())
        if word == "FROM":
            image, name = re.fullmatch(r"(\S+)(?: AS (\S+))?", instruction.rest).groups()
            stages.append(Stage(image, name))
        else:
            stages[-1].instructions.append(instruction)
    return stages


def variables(instruction):
    """The names and values of an ENV."""
    return dict(pair.split("=", 1) for pair in shlex.split(instruction.rest))


def sent(folder, ignore):
    """What of a folder is sent to the builder by a file such as `.dockerignore`: `*` first, then `!NAME` for what is wanted."""
    lines = [line.strip() for line in ignore.read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if lines[:1] != ["*"] or any(not re.fullmatch(r"![\w.-]+", line) for line in lines[1:]):
        raise SystemExit(f"{ignore}: this check can only read `*` and then `!NAME`")
    return [folder / line[1:] for line in lines[1:]]
