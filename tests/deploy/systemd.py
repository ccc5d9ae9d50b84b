"""Units, as systemd reads them, and the rotation, as logrotate does it beside the exporter that follows."""

import os
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.request

import yaml

from common import DEPLOY, ROOT, ask, fault

UNITS = DEPLOY / "systemd"
# Where systemd-analyze's judgement may end, 10 being the worst.
EXPOSURE = {"mozaiks-exporter.service": 1.5, "mozaiks-redact@.service": 1.0}
# Units of Debian's packages that the drop-ins are for: what of them matters here.
PACKAGED = {"prometheus": "prometheus", "prometheus-alertmanager": "prometheus-alertmanager",
            "prometheus-blackbox-exporter": "prometheus-blackbox-exporter"}


def root_of_a_machine(folder):
    """A root with our units, the packages' and the programs that they start."""
    root = pathlib.Path(folder)
    system = root / "etc/systemd/system"
    system.mkdir(parents=True)
    programs = root / "usr/bin"
    programs.mkdir(parents=True)
    os.symlink("usr/bin", root / "bin")
    for program in ("sh", "mozaiks-exporter", *PACKAGED.values()):
        path = programs / program
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    for unit, program in PACKAGED.items():
        (system / f"{unit}.service").write_text(f"[Service]\nUser=prometheus\nEnvironmentFile=-/etc/default/{unit}\n"
                                                f"ExecStart=/usr/bin/{program} $ARGS\n")
    for target in ("basic", "sysinit", "network-online", "multi-user", "shutdown"):
        (system / f"{target}.target").write_text("[Unit]\nDescription=there\n")
    for path in UNITS.rglob("*"):
        if path.is_file() and (path.suffix == ".service" or path.parent.name.endswith(".d")):
            target = system / path.relative_to(UNITS)
            target.parent.mkdir(exist_ok=True)
            target.write_text(path.read_text())
    return system


def check_units():
    with tempfile.TemporaryDirectory() as folder:
        system = root_of_a_machine(folder)
        (system / "mozaiks-redact@mozaiks.log.service").write_text((system / "mozaiks-redact@.service").read_text())
        units = ["mozaiks-exporter.service", "mozaiks-redact@mozaiks.log.service", *(f"{unit}.service" for unit in PACKAGED)]
        for unit in units:
            good, _, said = ask(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={folder}", unit])
            # Settings that are not known are passed over with a warning.
            said = "\n".join(line for line in said.splitlines() if "mozaiks" in line or "prometheus" in line)
            if not good or said:
                fault(f"systemd, {unit}", said or "is refused")
    figures = []
    for unit, most in EXPOSURE.items():
        with tempfile.TemporaryDirectory() as folder:
            # Its name without an instance is none that can be judged.
            path = pathlib.Path(folder, unit.replace("@", "@one"))
            path.write_text((UNITS / unit).read_text())
            _, said, everything = ask(["systemd-analyze", "security", "--offline=true", path])
            level = re.search(r"exposure level for .*: ([0-9.]+)", said)
            if not level:
                fault(f"systemd, {unit}", f"systemd-analyze security says nothing: {everything[:300]}")
            elif float(level[1]) > most:
                fault(f"systemd, {unit}", f"is exposed by {level[1]}, more than {most}")
            figures.append(f"{unit} {level and level[1]}")
    return ", ".join(figures)


def check_prometheus():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "prometheus.yml")
        path.write_text((UNITS / "prometheus.yml").read_text().replace("/etc/mozaiks/alerts", str(ROOT / "alerts")))
        good, _, said = ask(["promtool", "check", "config", path])
        if not good or "6 rule files found" not in said:
            fault("systemd/prometheus.yml", f"promtool: {said}")
    compose = yaml.safe_load((DEPLOY / "compose/prometheus/prometheus.yml").read_text())
    ours = yaml.safe_load((UNITS / "prometheus.yml").read_text())
    jobs = [[job["job_name"] for job in config["scrape_configs"]] for config in (compose, ours)]
    if jobs[0] != jobs[1]:
        fault("systemd/prometheus.yml", f"has the jobs {jobs[1]}, compose has {jobs[0]}")


def scraped(address, metric):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(metric + "{"))


def check_rotation(binary):
    """What logrotate cuts off has been read, and what is written after it is read, each line once."""
    for config in UNITS.glob("*.logrotate"):
        with tempfile.TemporaryDirectory() as folder:
            logs = pathlib.Path(folder)
            path = logs / "ag2_runtime.log"
            user = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
            text = config.read_text()
            text = re.sub(r"/var/log/mozaiksai(-redacted)?", str(logs), text)
            text = re.sub(r"su [\w-]+ [\w-]+", "", text)
            rules = logs / "rules"
            rules.write_text(text)
            rules.chmod(0o644)
            def line(number):
                return (f'{{"source_id": {number}, "source_name": "a", "event_name": "received_message", '
                        f'"json_state": "{{}}", "timestamp": "2026-01-18 01:58:06.{number:06}", "thread_id": 1}}\n')

            with path.open("a", encoding="utf-8") as file:
                file.writelines(map(line, range(50)))
                file.flush()
                command = [binary, "serve", f"--state-dir={folder}/state", "--web.listen-address=127.0.0.1:0",
                           "--log.format=json", "--control.listen-address=", "--runtime.url=one=", f"--ag2.path={path}"]
                running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]})
                address = None
                for said in running.stderr:
                    found = re.search(r'"address":"([0-9.:]+)".*listener ready', said)
                    if found:
                        address = found[1]
                        break
                if not address:
                    fault(config.name, "the exporter does not start")
                    continue
                try:
                    wait_for(address, 50, config.name)
                    good, _, said = ask(["logrotate", "--force", "--state", logs / "rotated", rules])
                    if not good:
                        fault(config.name, f"logrotate as {user}: {said}")
                    rotated = sorted(one.name for one in logs.glob("ag2_runtime.log?*"))
                    if rotated != ["ag2_runtime.log.1"] or path.stat().st_size:
                        fault(config.name, f"does not rotate: {rotated}, {path.stat().st_size} bytes are left")
                    file.writelines(map(line, range(50, 70)))
                    file.flush()
                    wait_for(address, 70, config.name)
                    if not path.stat().st_size:
                        fault(config.name, "what is written after the rotation goes to the file that was put aside")
                finally:
                    running.terminate()
                    running.wait(timeout=20)


def wait_for(address, lines, where):
    """A bound on how often is asked, none on how long it takes."""
    for _ in range(200):
        seen = scraped(address, "mozaiks_exporter_log_lines_total")
        if seen >= lines:
            break
        time.sleep(0.1)
    if seen != lines:
        fault(where, f"{seen:.0f} lines were read of {lines}")


def check(binary):
    figures = check_units()
    check_prometheus()
    check_rotation(binary)
    return f"units verified; exposure: {figures}"
