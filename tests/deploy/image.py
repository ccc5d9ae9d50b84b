"""The Dockerfile, and as much of its build as needs no engine."""

import json
import re
import shutil
import tempfile
import pathlib

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


def check():
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
        good, said, all_said = ask(["cargo", "metadata", "--offline", "--locked", "--no-deps", "--format-version=1"], cwd=folder)
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
