"""Checks deploy/: run by deploy/check, which fetches the tools; the argument is the exporter's binary."""

import concurrent.futures
import pathlib
import re
import sys

import common
import compose
import flags
import image
import kubernetes
import logs
import stack
import systemd


def check_yaml():
    """Helm's templates are no YAML yet."""
    paths = [path for path in common.files("**/*.yaml", "**/*.yml", "compose/.env") if "templates" not in path.parts
             and path.name != ".env" and path.name != "rules.yaml" and "files" not in path.parts]
    rules = ("{extends: default, rules: {document-start: disable, line-length: {max: 120, allow-non-breakable-words: true,"
             " allow-non-breakable-inline-mappings: true}, comments-indentation: disable,"
             " truthy: {check-keys: false}, brackets: {max-spaces-inside: 0}}}")
    good, _, said = common.ask(["yamllint", "--strict", "-f", "parsable", "-d", rules, *paths])
    if not good:
        common.fault("yamllint", said)
    return f"{len(paths)} files of YAML"


def check_scripts():
    scripts = [path for path in common.files("**/*", "check") if path.suffix not in (".md", ".json", ".ndjson")
               and re.match(r"#!.*\b(ba)?sh\b", path.read_text(encoding="utf-8"))]
    good, _, said = common.ask(["shellcheck", "-x", *scripts], cwd=common.ROOT)
    if not good or len(scripts) < 4:
        common.fault("shellcheck", said or f"found {len(scripts)} scripts alone")
    return f"{len(scripts)} scripts"


def check_links():
    """What pages of deploy/ and the page on uptime point to is there."""
    pages = [*common.files("**/README.md"), common.ROOT / "docs/uptime.md"]
    links = 0
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            links += 1
            if "://" not in link and not (page.parent / link).exists():
                common.fault(common.name(page), f"points to {link}, which is not there")
    return f"{links} links of {len(pages)} pages"


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    known = flags.Known(binary)
    subjects = {
        "image": lambda: image.check(binary),
        "yaml": check_yaml,
        "links": check_links,
        "scripts": check_scripts,
        "compose": lambda: compose.check(known),
        "kubernetes": lambda: kubernetes.check(known),
        "systemd": lambda: systemd.check(binary),
        "logs": logs.check,
        "flags": lambda: flags.check(known),
        # Starts the demo's services, so it takes as long as Prometheus takes to look around.
        "stack": lambda: stack.check(binary),
    }
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = {subject: pool.submit(run) for subject, run in subjects.items()}
        for subject, result in running.items():
            try:
                print(f"deploy: {subject}: {result.result()}")
            except Exception as error:  # What breaks a check is a fault like any other.
                common.fault(subject, f"the check itself failed: {type(error).__name__}: {error}")
    if common.faults:
        sys.exit("\n".join(common.faults))


main()
