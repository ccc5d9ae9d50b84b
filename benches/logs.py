#!/usr/bin/env python3
"""Lines per second and CPU of following a log: this exporter beside Debian's mtail, in one run.

benches/logs.py [ROUNDS [COPIES]]

The recorded production log is written out COPIES times into one file. Each program reads it from
its start to its end, in turns; medians of the CPU seconds and their ratio are printed.
"""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOG = ROOT / "tests/fixtures/runtime/logs/production_json/mozaiks.log"
BINARY = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/mozaiks-exporter"
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def metrics(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def value(text, name):
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def ours(log, lines):
    with tempfile.TemporaryDirectory() as state:
        port = 9851
        start = time.monotonic()
        process = subprocess.Popen(
            [
                BINARY, "serve", "--state-dir", state, "--runtime.url", "bench=",
                "--logs.path", log, "--logs.max-rate", "100GiB",
                "--web.listen-address", f"127.0.0.1:{port}", "--log.level", "error",
            ],
            env={"PATH": os.environ["PATH"]},
        )
        try:
            while True:
                time.sleep(0.05)
                try:
                    text = metrics(port)
                except OSError:
                    continue
                read = value(text, "mozaiks_exporter_log_lines_total")
                if read >= lines and value(text, "mozaiks_exporter_log_bytes_behind") == 0:
                    break
            took, cpu = time.monotonic() - start, cpu_of(process.pid)
            return took, cpu, value(text, "mozaiks_agent_turns_total")
        finally:
            process.kill()
            process.wait()


def mtail(log, lines):
    start = time.monotonic()
    before = os.times()
    said = subprocess.run(
        [
            "mtail", "-progs", ROOT / "benches/logs.mtail", "-logs", log, "-one_shot",
            "-one_shot_format", "prometheus", "-port", "0",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    ).stdout
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - start, cpu, value(said, "mozaiks_turns_total")


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    copies = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    if not shutil.which("mtail"):
        sys.exit("mtail is not installed (Debian's package mtail)")
    if not BINARY.exists():
        sys.exit(f"{BINARY} is not there: cargo build --release")
    recorded = LOG.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "mozaiks.log"
        with open(log, "wb") as out:
            for _ in range(copies):
                out.write(recorded)
        lines, size = recorded.count(b"\n") * copies, len(recorded) * copies
        turns = recorded.count(b'"msg": "agent_turn"') * copies
        runs = {"mozaiks-exporter": [], "mtail": []}
        for _ in range(rounds):
            runs["mozaiks-exporter"].append(ours(log, lines))
            runs["mtail"].append(mtail(log, lines))
    print(f"{lines:,} lines, {size / 2**20:.0f} MiB, {turns:,} turns; {rounds} rounds, medians\n")
    print("| program | lines/s | CPU µs a line | turns counted |")
    print("|---|---|---|---|")
    medians = {}
    for name, results in runs.items():
        took, cpu = (statistics.median(result[n] for result in results) for n in (0, 1))
        medians[name] = cpu
        print(f"| {name} | {lines / took:,.0f} | {cpu / lines * 1e6:.2f} | {results[0][2]:,.0f} |")
    print(f"\nCPU: 1 to {medians['mtail'] / medians['mozaiks-exporter']:.1f}")


if __name__ == "__main__":
    main()
