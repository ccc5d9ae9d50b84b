"""The Dockerfile, and as much of its build as needs no engine."""

import json
import re
import pathlib
import shutil
import subprocess
import sys
import tempfile

from common import DEPLOY, ROOT, ask, check_image, fault

DOCKERFILE = DEPLOY / "docker/Dockerfile"


def let_through():
    """Files of the repository that the build gets to see."""
    lines = [line for line in (DEPLOY / "docker/Dockerfile.dockerignore").read_text().splitlines()
             if line and not line.startswith("#")]
    if lines[0] != "*":
        fault("Dockerfile.dockerignore", "does not shut out everything first")
    for pattern in lines[1:]:
        if not pattern.startswith("!"):
            fault("Dockerfile.dockerignore", f"{pattern} shuts out what was let in; this check does not know that")
        found = list(ROOT.glob(pattern[1:]))
        if not found:
            fault("Dockerfile.dockerignore", f"{pattern} lets nothing in")
        for path in found:
            yield from [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def inside(root):
    """In a network of its own: starts the exporter in the image's files as its user, with a root that cannot be
    written, and has it asked as HEALTHCHECK does. Prints what is wrong, a line each."""
    root = pathlib.Path(root)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    text = DOCKERFILE.read_text().replace("\\\n", "")
    (root / "state").mkdir()
    start = ["bwrap", "--die-with-parent", "--unshare-user", "--uid", "65532", "--gid", "65532", "--clearenv",
             "--ro-bind", root / "rootfs", "/", "--bind", root / "state", "/var/lib/mozaiks-exporter"]
    for variable, value in re.findall(r"(MOZAIKS_\w+)=(\S*)", re.search(r"^ENV (.*)$", text, re.M)[1]):
        start += ["--setenv", variable, value]
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.M)[1])
    probe = json.loads(re.search(r"^HEALTHCHECK .*?CMD (.*)$", text, re.M)[1])
    dead = subprocess.run([*start, *probe], capture_output=True, text=True)
    if dead.returncode != 1:
        print(f"HEALTHCHECK ends with {dead.returncode} where nothing runs: {dead.stderr.strip()}")
    running = subprocess.Popen([*start, *entry], stderr=subprocess.PIPE, text=True)
    said = []
    for line in running.stderr:
        said.append(line)
        if "metrics listener ready" in line:
            break
    well = subprocess.run([*start, *probe], capture_output=True, text=True)
    if well.returncode:
        print(f"HEALTHCHECK ends with {well.returncode}: {well.stderr.strip()} {''.join(said)[-300:]}")
    running.terminate()
    running.wait(timeout=20)
    if not (root / "state/state.db").is_file():
        print("the exporter keeps no state where the volume is")


def check_files(binary):
    with tempfile.TemporaryDirectory() as folder:
        good, _, said = ask(["fakeroot", DEPLOY / "docker/rootfs", binary, pathlib.Path(folder, "rootfs")])
        if not good:
            fault("rootfs", said)
            return
        done = subprocess.run(["unshare", "--map-root-user", "--net", sys.executable, "-B", __file__, folder],
                              capture_output=True, text=True)
        if done.returncode:
            fault("image", f"could not be tried (namespaces are needed): {done.stderr[-800:]}")
        for line in done.stdout.split("\n"):
            if line:
                fault("image", line)


def check(binary):
    check_files(binary)
    good, _, said = ask(["hadolint", DOCKERFILE])
    if not good:
        fault("hadolint", said)
    text = DOCKERFILE.read_text()
    for image in re.findall(r"^FROM (\S+)", text, re.M):
        if image != "scratch":
            check_image("Dockerfile", image)
    for wanted in ("USER 65532:65532", "HEALTHCHECK", "org.opencontainers.image.licenses"):
        if wanted not in text:
            fault("Dockerfile", f"has no {wanted}")
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    if f"ARG VERSION={version}\n" not in text:
        fault("Dockerfile", f"is not of version {version}")

    seen = set(let_through())
    with tempfile.TemporaryDirectory() as folder:
        for path in seen:
            target = pathlib.Path(folder) / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        # Targets whose files are missing are refused here already.
        command = ["cargo", "metadata", "--offline", "--locked", "--no-deps", "--format-version=1"]
        good, said, all_said = ask(command, cwd=folder)
        if not good:
            fault("Dockerfile.dockerignore", f"cargo refuses what the build sees: {all_said}")
        elif "mozaiks-exporter" not in {target["name"] for target in json.loads(said)["packages"][0]["targets"]}:
            fault("Dockerfile.dockerignore", "the build sees no binary to build")
    for path in ROOT.glob("src/**/*.rs"):
        # Files that are compiled in, those of tests apart.
        text = path.read_text(encoding="utf-8").split("#[cfg(test)]")[0]
        if path.name == "tests.rs":
            continue
        for included in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', text):
            if (path.parent / included).resolve() not in seen:
                fault("Dockerfile.dockerignore", f"{included}, which {path.relative_to(ROOT)} includes, is shut out")
    for included in re.findall(r'^    "((?:alerts|grafana)/[^"]+)",$', (ROOT / "src/assets/files.rs").read_text(), re.M):
        if ROOT / included not in seen:
            fault("Dockerfile.dockerignore", f"{included}, which the binary holds, is shut out")
    return f"{len(seen)} files go into the build"


if __name__ == "__main__":
    inside(*sys.argv[1:])
