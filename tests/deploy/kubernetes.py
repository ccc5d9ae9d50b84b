"""Kustomizations and the chart: rendered by kubectl and helm, held against the schemas of Kubernetes (unknown fields
forbidden) and of the Prometheus operator, and against alerts/ and grafana/.
"""

import importlib
import json
import pathlib
import tempfile

import kubernetes_validate
import yaml

from common import DEPLOY, ROOT, ask, check_image, documents, fault

KUBERNETES = DEPLOY / "kubernetes"
CHART = KUBERNETES / "helm/mozaiks-exporter"
# The oldest and a current one that the manifests are for.
VERSIONS = ["1.29", "1.37"]
MONITORING = importlib.import_module("cloudcoil.models.prometheus_operator.v1")


def kustomized(folder):
    good, said, everything = ask(["kubectl", "kustomize", folder])
    if not good:
        fault(folder.relative_to(ROOT), everything)
        return []
    return documents(said)


def templated(where, *arguments):
    good, said, everything = ask(["helm", "template", "release", CHART, "--namespace", "mozaiks", *arguments])
    if not good:
        fault(where, everything)
        return []
    return documents(said)


def check_schema(where, document):
    kind = f"{where}, {document['kind']} {document['metadata']['name']}"
    if document["apiVersion"].startswith("monitoring.coreos.com/"):
        # A field that the operator does not know is lost on the way through its model.
        model = getattr(MONITORING, document["kind"])
        try:
            again = json.loads(model.model_validate(document).model_dump_json(by_alias=True, exclude_unset=True))
        except ValueError as error:
            fault(kind, error)
            return
        if again != json.loads(json.dumps(document)):
            fault(kind, "has fields that the Prometheus operator does not know")
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            fault(kind, f"Kubernetes {version}: {error.message} at {'.'.join(map(str, error.path))}")


def pod_of(document):
    return document["spec"]["template"]["spec"] if document["kind"] in ("Deployment", "StatefulSet") else None


def check_pod(known, where, document):
    pod = pod_of(document)
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])}
    for container in pod["containers"] + pod.get("initContainers", []):
        check_image(where, container["image"])
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                fault(where, f"{container['name']} mounts {mount['name']}, which is no volume")
        if container["name"] != "mozaiks-exporter":
            continue
        known.check_arguments(where, container.get("args", []))
        ports = {port["name"] for port in container["ports"]}
        for probe in ("livenessProbe", "readinessProbe"):
            if probe in container and container[probe]["httpGet"]["port"] not in ports:
                fault(where, f"the {probe} asks a port that is none")
        security = {**pod.get("securityContext", {}), **container["securityContext"]}
        wanted = {"runAsNonRoot": True, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                  "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}
        for field, value in wanted.items():
            if security.get(field) != value:
                fault(where, f"{field} is {security.get(field)}")
        if "memory" not in container["resources"].get("limits", {}) or "requests" not in container["resources"]:
            fault(where, "has no bounds")
        if "/var/lib/mozaiks-exporter" not in {mount["mountPath"] for mount in container["volumeMounts"]}:
            fault(where, "has no place for its state")
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        for variable in container.get("env", []):
            value = variable.get("value", "")
            if variable["name"].endswith("_FILE") and not any(value.startswith(path + "/") for path in paths):
                fault(where, f"{variable['name']} is {value}, which is not mounted")


def check_links(where, found):
    """Selectors meet pods, monitors meet ports, the job is the one that rules ask for."""
    pods = [document["spec"]["template"] for document in found if pod_of(document)]
    for document in found:
        spec = document.get("spec", {})
        labels = {"Service": lambda: spec["selector"], "PodMonitor": lambda: spec["selector"]["matchLabels"],
                  "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"]}.get(document["kind"])
        if not labels:
            continue
        met = [pod for pod in pods if labels().items() <= pod["metadata"]["labels"].items()]
        if not labels() or not met:
            fault(where, f"{document['kind']} {document['metadata']['name']} selects no pod")
            continue
        containers = [container for pod in met
                      for container in pod["spec"]["containers"] + pod["spec"].get("initContainers", [])]
        ports = {port["name"] for container in containers for port in container.get("ports", [])}
        asked = {"Service": lambda: [port["targetPort"] for port in spec["ports"]],
                 "PodMonitor": lambda: [end["port"] for end in spec["podMetricsEndpoints"]],
                 "NetworkPolicy": lambda: [port["port"] for rule in spec["ingress"] for port in rule["ports"]]}
        for port in asked[document["kind"]]():
            if port not in ports:
                fault(where, f"{document['kind']} {document['metadata']['name']} names the port {port}, which no pod has")
        if document["kind"] == "PodMonitor":
            jobs = [one["replacement"] for end in spec["podMetricsEndpoints"] for one in end["relabelings"]
                    if one["targetLabel"] == "job"]
            if jobs != ["mozaiksai"]:
                fault(where, f"the job is {jobs}")


def check_shipped(where, found):
    """Rules and dashboards are those of alerts/ and grafana/, all of them."""
    wanted = {path.name.removesuffix(".rules.yml"): yaml.safe_load(path.read_text())["groups"]
              for path in (ROOT / "alerts").glob("*.rules.yml")}
    rules = {document["metadata"]["name"].rsplit("-", 1)[-1]: document["spec"]["groups"]
             for document in found if document["kind"] == "PrometheusRule"}
    if rules != wanted:
        fault(where, f"rules are not those of alerts/: {sorted(rules)} against {sorted(wanted)}, or what is in them")
    wanted = {path.name: path.read_text() for path in (ROOT / "grafana/dashboards").glob("*.json")}
    maps = [document for document in found
            if document["kind"] == "ConfigMap" and document["metadata"]["labels"].get("grafana_dashboard")]
    boards = {file: text for document in maps for file, text in document["data"].items()}
    if boards != wanted:
        fault(where, f"dashboards are not those of grafana/: {sorted(boards)} against {sorted(wanted)}, or what is in them")
    for document in maps:
        # What `kubectl apply` writes beside it doubles it.
        if len(json.dumps(document)) > 256 * 1024:
            fault(where, f"{document['metadata']['name']} is too long for kubectl apply")


def check_promtool(found):
    groups = [group for document in found if document["kind"] == "PrometheusRule"
              for group in document["spec"]["groups"]]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump({"groups": groups}, file)
        file.flush()
        good, _, said = ask(["promtool", "check", "rules", file.name])
        if not good:
            fault("kubernetes, rules", said)


def check_refused():
    """A slip in a value is told, and not passed over."""
    for slip in ("podMonitors.enabled=true", "image.tag=latest", "persistence.sizes=1Gi", "control.enabled=true"):
        good, _, _ = ask(["helm", "template", "release", CHART, "--set", slip])
        if good:
            fault("helm", f"takes --set {slip}")


def check(known):
    forms = {f"kubernetes/{folder}": kustomized(KUBERNETES / folder)
             for folder in ("examples/sidecar", "examples/central", "monitoring")}
    forms["helm"] = templated("helm")
    forms["helm, full"] = templated("helm, full", "-f", KUBERNETES / "helm/examples/full.yaml")
    forms["helm, bare"] = templated("helm, bare", *(f"--set={name}.enabled=false" for name in (
        "persistence", "podMonitor", "rules", "dashboards", "networkPolicy")), "--set=serviceAccount.create=false")
    forms["helm, claim"] = templated("helm, claim", "--set=persistence.existingClaim=mine")
    count = 0
    for where, found in forms.items():
        for document in found:
            count += 1
            check_schema(where, document)
            if pod_of(document):
                check_pod(known, where, document)
            if document["kind"] == "ConfigMap" and "config.yml" in document["data"]:
                known.check_config(where, yaml.safe_load(document["data"]["config.yml"]))
        if where != "kubernetes/monitoring":
            check_links(where, found)
    for where in ("kubernetes/monitoring", "helm", "helm, full"):
        check_shipped(where, forms[where])
    check_promtool(forms["kubernetes/monitoring"])
    good, _, said = ask([KUBERNETES / "monitoring/rules", "--check"])
    if not good:
        fault("kubernetes/monitoring", said)
    good, _, said = ask(["helm", "lint", "--strict", CHART])
    if not good:
        fault("helm lint", said)
    version = f"{yaml.safe_load((CHART / 'Chart.yaml').read_text())['appVersion']}"
    for path in ("sidecar", "central"):
        tag = yaml.safe_load((KUBERNETES / path / "kustomization.yaml").read_text())["images"][0]["newTag"]
        if tag != version:
            fault(f"kubernetes/{path}", f"is of version {tag}, the chart of {version}")
    check_refused()
    return f"{count} objects of {len(forms)} forms"
