#!/usr/bin/env python3
"""Writes rules.yaml, the alerts of ../prometheus/rules.yml as the Prometheus operator takes them. `--check` compares instead, and fails if they differ.

The text is taken as it is, below `spec`: what was read and tested there is what a cluster gets.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
RULES, MADE = HERE.parent / "prometheus" / "rules.yml", HERE / "rules.yaml"
HEAD = """\
# The alerts of deploy/prometheus/rules.yml for the Prometheus operator, written by deploy/kubernetes/rules.py: do not edit it. The operator takes
# what its `ruleSelector` asks for: add that label here by kustomize, where it asks for one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: crier
spec:
"""


def written(rules):
    """As a resource; comments at the head are about the file that is read, and stay there."""
    _, groups = rules.split("groups:\n", 1)
    return HEAD + "  groups:\n" + "".join(f"  {line}" if line.strip() else line for line in groups.splitlines(keepends=True))


def main():
    text = written(RULES.read_text())
    if sys.argv[1:] == ["--check"]:
        if not MADE.exists() or MADE.read_text() != text:
            sys.exit("kubernetes/rules.yaml is not what prometheus/rules.yml says: run deploy/kubernetes/rules.py")
        print("kubernetes: rules.yaml is prometheus/rules.yml")
    else:
        MADE.write_text(text)


main()
