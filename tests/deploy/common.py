"""What the checks share: where things are, how a tool is asked, what was found."""

import pathlib
import re
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
faults = []


def fault(where, what):
    faults.append(f"{where}: {what}")


def ask(command, **more):
    """What a tool says: (whether it is content, standard output, all of it)."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **more)
    except FileNotFoundError:
        sys.exit(f"{command[0]} is not on PATH; deploy/check installs it")
    return done.returncode == 0, done.stdout, (done.stdout + done.stderr).strip()


def files(*patterns):
    return sorted(path for pattern in patterns for path in DEPLOY.glob(pattern) if path.is_file())


def name(path):
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


PINNED = re.compile(r"[^:@\s]+(:[0-9]+/[^:@\s]+)?:v?[0-9]+\.[0-9]+[\w.-]*")


def check_image(where, image):
    """A tag that moves brings another thing tomorrow; two numbers at least, three where a release has them."""
    if not PINNED.fullmatch(image):
        fault(where, f"{image} has no tag that stays")


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]
