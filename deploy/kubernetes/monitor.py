#!/usr/bin/env python3
"""Holds monitor.yaml against the ServiceMonitor that the Prometheus operator defines, and against the pods that it is to find.

The operator publishes its resource definitions in no registry of packages; `cloudcoil-models-prometheus-operator` on PyPI is made from
them, and gives the schema back. A cluster drops members that it does not know without a word, so here they are refused."""

import pathlib
import sys

import jsonschema
import yaml
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

HERE = pathlib.Path(__file__).resolve().parent


def closed(schema):
    """The same schema, where an object has the members that are listed and no others."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
    return schema


def faults(documents, pods):
    """What is wrong with a Service and its ServiceMonitor, in words."""
    (service,) = [each for each in documents if each["kind"] == "Service"]
    (monitor,) = [each for each in documents if each["kind"] == "ServiceMonitor"]
    schema = closed(ServiceMonitor.model_json_schema())
    for error in jsonschema.Draft202012Validator(schema).iter_errors(monitor):
        yield f"{error.json_path}: {error.message}"
    wanted = monitor["spec"].get("selector", {}).get("matchLabels", {})
    if not wanted or not wanted.items() <= service["metadata"]["labels"].items():
        yield f"the ServiceMonitor looks for {wanted}, and the Service is {service['metadata']['labels']}"
    ports = {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
    for endpoint in monitor["spec"].get("endpoints", []):
        if endpoint.get("port") not in ports:
            yield f"the ServiceMonitor asks the port {endpoint.get('port')}, and the Service has {', '.join(ports)}"
    for name, pod in pods.items():
        if not service["spec"]["selector"].items() <= pod["metadata"]["labels"].items():
            yield f"the Service does not find {name}"
        named = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
        if not set(ports.values()) <= named:
            yield f"{name} has the ports {named}, not {set(ports.values())}"


def read(name):
    return list(yaml.safe_load_all((HERE / name).read_text()))


def main():
    pods = {}
    for name in ("scheduler", "worker", "exporter"):
        (deployment,) = [each for each in read(f"{name}.yaml") if each["kind"] == "Deployment"]
        pods[name] = deployment["spec"]["template"]
    # A guard that lets everything pass is none.
    spoilt = read("monitor.yaml")
    spoilt[1]["spec"]["endpoints"][0]["intervall"] = "15s"
    if not any("intervall" in fault for fault in faults(spoilt, pods)):
        sys.exit("kubernetes: a member that no ServiceMonitor has is not refused")
    found = list(faults(read("monitor.yaml"), pods))
    for fault in found:
        print(f"kubernetes/monitor.yaml: {fault}", file=sys.stderr)
    if found:
        sys.exit(1)
    print("kubernetes: the ServiceMonitor is one by its definition, and finds all three roles")


main()
