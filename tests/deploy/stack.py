"""Starts the demo of deploy/compose without an engine: the programs of Debian's packages in sandboxes, with the
commands, mounts and read-only roots that docker compose resolves, under the names that services have for each
other. Then Prometheus is asked how it is.

Grafana is not in Debian and not among them. Prometheus is older here than in the image.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

import compose
from common import fault

PROGRAMS = {"prometheus": "/usr/bin/prometheus", "alertmanager": "/usr/bin/prometheus-alertmanager",
            "blackbox": "/usr/bin/prometheus-blackbox-exporter"}
# Of each job, how many addresses have to answer.
TARGETS = {"mozaiksai": 1, "mozaiksai-probe": 2, "prometheus": 1, "alertmanager": 1, "blackbox": 1}
# Every 30 s an address is probed, so that the last of them is heard of in time.
TRIES, PAUSE = 240, 0.5


def sandbox(folder, name, service, binary):
    command = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--ro-bind", "/usr", "/usr",
               "--proc", "/proc", "--dev", "/dev", "--dir", "/etc", "--dir", "/tmp",
               "--ro-bind", folder / "hosts", "/etc/hosts"]
    for link in ("bin", "lib", "lib64"):
        command += ["--symlink", f"usr/{link}", f"/{link}"]
    program = PROGRAMS.get(name)
    if not program:
        program = "/mozaiks-exporter"
        command += ["--ro-bind", binary, program]
    for target in service.get("tmpfs") or []:
        command += ["--tmpfs", target]
    for mount in service["volumes"]:
        source = mount["source"]
        if mount["type"] == "volume":
            source = folder / f"volume-{source}"
            source.mkdir()
        command += ["--ro-bind" if mount.get("read_only") else "--bind", source, mount["target"]]
    assert service["read_only"]
    command += ["--remount-ro", "/", program, *service["command"]]
    if name == "prometheus":
        # What fires before it knows its Alertmanager is told again after this, not after a minute.
        command.append("--rules.alert.resend-delay=2s")
    return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=(folder / f"{name}.log").open("w"))


def ask(path):
    with urllib.request.urlopen(f"http://127.0.0.1:9090/api/v1/{path}", timeout=10) as answer:
        return json.load(answer)["data"]


def missing():
    """What is not as it should be yet."""
    up = {job: 0 for job in TARGETS}
    for one in ask("targets")["activeTargets"]:
        up[one["labels"]["job"]] += one["health"] == "up"
    wrong = [f"{up[job]} of {count} targets of {job} are up" for job, count in TARGETS.items() if up[job] != count]
    probes = ask("query?query=probe_success")["result"]
    if len(probes) != 2 or any(sample["value"][1] != "1" for sample in probes):
        wrong.append(f"probes say {[(sample['metric']['instance'], sample['value'][1]) for sample in probes]}")
    if not any(float(sample["value"][1]) > 0 for sample in ask("query?query=mozaiks_workflow_starts_total")["result"]):
        wrong.append("no workflow has started")
    rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
    unwell = [rule["name"] for rule in rules if rule["health"] == "err"]
    # Those of long windows have not been evaluated yet.
    if not rules or unwell:
        wrong.append(f"{len(unwell)} of {len(rules)} rules are not well: {unwell[:3]}")
    if not ask("alertmanagers")["activeAlertmanagers"]:
        wrong.append("no Alertmanager is known")
    with urllib.request.urlopen("http://127.0.0.1:9093/api/v2/alerts", timeout=10) as answer:
        if not any(alert["labels"]["alertname"] == "Watchdog" for alert in json.load(answer)):
            wrong.append("the Watchdog has not come to Alertmanager")
    return wrong


def inside(folder, binary):
    """In a network of its own; prints what is wrong in the end, a line each."""
    folder = pathlib.Path(folder)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    services = json.loads((folder / "config.json").read_text())["services"]
    (folder / "hosts").write_text("127.0.0.1 localhost " + " ".join(services) + "\n")
    running = {name: sandbox(folder, name, service, binary) for name, service in services.items() if name != "grafana"}
    wrong = []
    try:
        for _ in range(TRIES):
            ended = [name for name, process in running.items() if process.poll() is not None]
            if ended:
                wrong = [f"{name} ended: {(folder / f'{name}.log').read_text()[-600:]}" for name in ended]
                break
            try:
                wrong = missing()
            except OSError as error:
                wrong = [f"does not answer: {error}"]
            if not wrong:
                break
            time.sleep(PAUSE)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait(timeout=20)
    print("\n".join(wrong))


def check(binary):
    with tempfile.TemporaryDirectory() as folder:
        root = compose.copied(folder)
        config = compose.resolved(root, "demo")
        (root / "config.json").write_text(json.dumps(config))
        done = subprocess.run(["unshare", "--map-root-user", "--net", sys.executable, "-B", __file__, root, binary],
                              capture_output=True, text=True)
        if done.returncode:
            fault("stack", f"could not be tried (namespaces are needed): {done.stderr[-800:]}")
        for line in done.stdout.split("\n"):
            if line:
                fault("stack", line)
    return f"{len(config['services']) - 1} services of the demo answer each other"


if __name__ == "__main__":
    inside(*sys.argv[1:])
