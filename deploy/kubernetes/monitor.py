#!/usr/bin/env python3
"""Holds monitor.yaml and rules.yaml against the ServiceMonitor and the PrometheusRule that the Prometheus operator defines, and the former against the pods
that it is to find.

The operator publishes its resource definitions in no registry of packages; `cloudcoil-models-prometheus-operator` on PyPI is made from
them, and gives the schema back. A cluster drops members that it does not know without a word, so here they are refused."""

import pathlib
import sys

import jsonschema
import yaml
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

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


def against(model, document):
    """Where a resource is not as its definition wants it, in words."""
    for error in jsonschema.Draft202012Validator(closed(model.model_json_schema())).iter_errors(document):
        # Of a member that may be of several forms: what is wrong with the form that it comes closest to.
        error = jsonschema.exceptions.best_match([error])
        yield f"{error.json_path}: {error.message}"


def faults(documents, pods):
    """What is wrong with a Service and its ServiceMonitor, in words."""
    (service,) = [each for each in documents if each["kind"] == "Service"]
    (monitor,) = [each for each in documents if each["kind"] == "ServiceMonitor"]
    yield from against(ServiceMonitor, monitor)
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
    (rules,) = read("rules.yaml")
    (spoilt,) = read("rules.yaml")
    spoilt["spec"]["groups"][0]["rules"][0]["expression"] = "1"
    if not any("expression" in fault for fault in against(PrometheusRule, spoilt)):
        sys.exit("kubernetes: a member that no PrometheusRule has is not refused")
    found = [f"monitor.yaml: {fault}" for fault in faults(read("monitor.yaml"), pods)] + [f"rules.yaml: {fault}" for fault in against(PrometheusRule, rules)]
    for fault in found:
        print(f"kubernetes/{fault}", file=sys.stderr)
    if found:
        sys.exit(1)
    print("kubernetes: ServiceMonitor and PrometheusRule are such by their definitions; the former finds all three roles")


main()
