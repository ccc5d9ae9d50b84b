"""The files for docker compose: read by docker compose itself, and what they mount read by its programs."""

import json
import os
import pathlib
import shutil
import tempfile

import yaml

from common import DEPLOY, ROOT, ask, check_image, fault

# Which files and profiles go together.
FORMS = {
    "demo": (None, ""),
    # Rules and dashboards with values of one's own, as README.md has it.
    "mine": (None, ""),
    "runtime": ("compose.yaml:runtime.yaml", ""),
    "elastic": ("compose.yaml:runtime.yaml:logs.yaml", "elastic"),
    "fluentd": ("compose.yaml:runtime.yaml:logs.yaml", "fluentd"),
    "both": ("compose.yaml:runtime.yaml:logs.yaml", "elastic,fluentd"),
}


def copied(folder):
    """What a user downloads, with secrets made."""
    root = pathlib.Path(folder)
    for part in ("alerts", "grafana"):
        shutil.copytree(ROOT / part, root / part)
    for part in ("compose", "docker", "logs"):
        shutil.copytree(DEPLOY / part, root / "deploy" / part, ignore=shutil.ignore_patterns("secrets"))
    good, _, said = ask(["sh", root / "deploy/compose/secrets.sh"])
    if not good:
        fault("secrets.sh", said)
    before = {path: path.read_text() for path in (root / "deploy/compose/secrets").iterdir()}
    ask(["sh", root / "deploy/compose/secrets.sh"])
    for path, text in before.items():
        if path.read_text() != text:
            fault("secrets.sh", f"a second run writes {path.name} anew")
    return root


def resolved(root, form):
    """What docker compose makes of one form."""
    chosen, profiles = FORMS[form]
    environment = {"PATH": os.environ["PATH"], "HOME": str(root)}
    if chosen:
        environment |= {"COMPOSE_FILE": chosen, "COMPOSE_PROFILES": profiles,
                        "MOZAIKS_RUNTIME_IMAGE": "registry.example.com/mozaiks:5.0.0"}
    if form == "mine":
        environment["ASSETS"] = "./mine"
    command = ["docker-compose", "config", "--format", "json"]
    good, said, everything = ask(command, cwd=root / "deploy/compose", env=environment)
    if not good:
        fault(f"compose, {form}", everything)
        return None
    return json.loads(said)


def sources(service):
    """What lies where in the container: (target, file or folder of ours)."""
    return [(mount["target"], pathlib.Path(mount["source"]))
            for mount in service.get("volumes", []) if mount["type"] == "bind"]


def here(service, text):
    """A text with paths of the container as one with paths of ours."""
    for target, source in sorted(sources(service), key=lambda pair: -len(pair[0])):
        text = text.replace(target, str(source))
    return text


def check_service(known, where, name, service, secrets):
    if "image" in service:
        check_image(where, service["image"])
    for target, source in sources(service):
        if not source.exists():
            fault(where, f"mounts {source}, which is not there")
    mounted = {f"/run/secrets/{secret['source']}" for secret in service.get("secrets", [])}
    for secret in service.get("secrets", []):
        if not pathlib.Path(secrets[secret["source"]]["file"]).is_file():
            fault(where, f"has the secret {secret['source']}, which secrets.sh does not write")
    for variable, value in service.get("environment", {}).items():
        if str(value).startswith("/run/secrets/") and value not in mounted:
            fault(where, f"{variable} is {value}, which is not mounted")
        if any(word in variable for word in ("PASSWORD", "TOKEN")) and value and not variable.endswith(("FILE", "OPTIN")):
            fault(where, f"{variable} is a secret in an environment")
    for port in service.get("ports", []):
        if port.get("host_ip") != "127.0.0.1":
            fault(where, f"port {port['target']} is open to others than this machine")
    if name == "exporter":
        known.check_arguments(where, service.get("command") or [])


def check_probes(where, services):
    """Modules that are asked for exist, and see their token."""
    config = dict(sources(services["blackbox"]))["/etc/blackbox_exporter/blackbox.yml"]
    modules = yaml.safe_load(config.read_text())["modules"]
    mounted = {f"/run/secrets/{secret['source']}" for secret in services["blackbox"].get("secrets", [])}
    targets = dict(sources(services["prometheus"]))["/etc/prometheus/targets/probes.yml"]
    for group in yaml.safe_load(targets.read_text()):
        module = modules.get(group["labels"]["__param_module"])
        token = module and module["http"].get("bearer_token_file")
        if module is None:
            fault(where, f"{targets.name} asks for {group['labels']}, which is no module")
        elif token and token not in mounted:
            fault(where, f"probes of {group['targets']} read {token}, which is not mounted")


def check_programs(where, services):
    with tempfile.TemporaryDirectory() as folder:
        service = services["prometheus"]
        mounts = dict(sources(service))
        for target in [target for target in mounts if target.endswith("prometheus.yml")]:
            path = pathlib.Path(folder, "prometheus.yml")
            path.write_text(here(service, mounts[target].read_text()))
            good, _, said = ask(["promtool", "check", "config", path])
            if not good or "SUCCESS: 6 rule files found" not in said:
                fault(where, f"promtool: {said}")
    service = services["alertmanager"]
    config = dict(sources(service))["/etc/alertmanager/alertmanager.yml"]
    good, _, said = ask(["amtool", "check-config", config])
    if not good:
        fault(where, f"amtool: {said}")
    # What is read from files has to be where the configuration looks for it.
    mounted = {f"/run/secrets/{secret['source']}" for secret in service.get("secrets", [])}
    for line in config.read_text().splitlines():
        path = line.split(":", 1)[-1].strip()
        if path.startswith("/run/secrets/") and not line.strip().startswith("#") and path not in mounted:
            fault(where, f"{config.name} reads {path}, which is not mounted")
    for argument in services["blackbox"]["command"]:
        good, _, said = ask(["prometheus-blackbox-exporter", here(services["blackbox"], argument), "--config.check"])
        if not good:
            fault(where, f"blackbox_exporter: {said}")


def check(known):
    seen = set()
    with tempfile.TemporaryDirectory() as folder:
        root = copied(folder)
        good, _, said = ask([known.binary, "assets", "-o", root / "deploy/compose/mine", "--set", "daily-budget-usd=250"])
        if not good:
            fault("assets", said)
        for form in FORMS:
            config = resolved(root, form)
            if not config:
                continue
            for name, service in config["services"].items():
                seen.add(name)
                check_service(known, f"compose, {form}, {name}", name, service, config.get("secrets", {}))
            if form in ("demo", "mine", "runtime"):
                check_programs(f"compose, {form}", config["services"])
                check_probes(f"compose, {form}", config["services"])
    return f"{len(FORMS)} forms of {len(seen)} services"
