#!/usr/bin/env python3
"""check.py WITHOUT WITH: manifests as kustomize builds them, without this component and with it. With it, tokens that a worker has refreshed are on a volume
that every worker shares and that outlives them all; without it they are not, or else the component would be of no use, and this check blind.
"""

import sys

import yaml


def lost(documents):
    """Why a refreshed token may be lost with its pod, or with its node; nothing if it may not."""
    settings = {each["metadata"]["name"]: each["data"] for each in documents if each["kind"] == "ConfigMap"}
    claims = {each["metadata"]["name"]: each["spec"] for each in documents if each["kind"] == "PersistentVolumeClaim"}
    (worker,) = [each for each in documents if each["kind"] == "Deployment" and each["metadata"]["name"] == "worker"]
    pod = worker["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    said = {each["name"]: each.get("value") for each in container.get("env", [])}
    folder = said.get("CRIER__SECRETS__RESCUE_DIR") or yaml.safe_load(settings["crier"]["crier.yaml"])["secrets"]["rescue_dir"]
    mounts = [each for each in container["volumeMounts"] if each["mountPath"] == folder]
    if not mounts or mounts[0].get("readOnly"):
        return f"nothing that may be written is mounted at {folder}"
    (volume,) = [each for each in pod["volumes"] if each["name"] == mounts[0]["name"]]
    claim = claims.get(volume.get("persistentVolumeClaim", {}).get("claimName"))
    if claim is None:
        return f"{folder} is on no volume that stays"
    if claim["accessModes"] != ["ReadWriteMany"]:
        return f"{folder} is on a volume that workers on several nodes cannot share"
    return None


def main():
    without, within = (list(yaml.safe_load_all(open(path))) for path in sys.argv[1:])
    if lost(without) is None:
        sys.exit("kubernetes/rescue: tokens are on a volume that stays without the component too")
    if reason := lost(within):
        sys.exit(f"kubernetes/rescue: {reason}")
    print("kubernetes: with the component `rescue`, refreshed tokens outlive pod and node")


main()
