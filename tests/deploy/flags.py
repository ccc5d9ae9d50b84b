"""Every command, flag and variable of the exporter that deploy/ names has to be one that it knows."""

import os
import pathlib
import re
import subprocess
import tempfile

import yaml

from common import DEPLOY, ask, fault, files, name

# Read besides the flags' own: the token itself (README.md).
MORE_VARIABLES = {"MOZAIKS_EXPORTER_RUNTIME_TOKEN"}
# The client for Python has variables of its own; its README is checked with it.
SKIPPED = DEPLOY / "python"


class Known:
    """What the binary says of itself."""

    def __init__(self, binary):
        self.binary = binary
        _, top, _ = ask([binary, "--help"])
        self.commands = set(re.findall(r"^  ([a-z]+)  ", top, re.M)) - {"help"}
        if not {"serve", "demo"} <= self.commands:
            fault(binary, f"--help names no commands that are known: {self.commands}")
        self.flags, self.variables = {}, set(MORE_VARIABLES)
        for command in self.commands:
            _, said, _ = ask([binary, command, "--help"])
            self.flags[command] = {"--help", "--version"} | set(re.findall(r"^ +(?:-\w, )?(--[a-z0-9.-]+)", said, re.M))
            self.variables |= set(re.findall(r"\[env: (\w+)=", said))

    def check_arguments(self, where, arguments):
        """A command line without the program."""
        command = "serve"
        if arguments and not arguments[0].startswith("-"):
            command = arguments[0]
        if command not in self.commands:
            fault(where, f"`mozaiks-exporter {command}` is no command")
            return
        for argument in arguments:
            flag = argument.split("=", 1)[0]
            if flag.startswith("--") and flag not in self.flags[command]:
                fault(where, f"`{flag}` is no flag of `mozaiks-exporter {command}`")

    def check_config(self, where, config):
        """Starts it with the file: it says itself what it does not know."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "config.yml")
            text = yaml.safe_dump(config)
            # Secrets lie elsewhere here, and their texts are such as they might be.
            for secret in set(re.findall(r"/run/secrets/[\w/.-]+", text)):
                file = pathlib.Path(folder + secret)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("mongodb://127.0.0.1:1/MozaiksAI\n")
            path.write_text(text.replace("/run/secrets/", f"{folder}/run/secrets/"))
            command = [self.binary, "serve", f"--config.file={path}", f"--state-dir={folder}/state", "--log.format=json",
                       "--web.listen-address=127.0.0.1:0", "--control.listen-address="]
            # Nothing of this environment is its business.
            running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]})
            said = []
            for line in running.stderr:
                said.append(line)
                if "listener ready" in line:
                    break
            else:
                fault(where, f"the exporter refuses the configuration: {''.join(said)[-500:]}")
            running.terminate()
            running.wait(timeout=20)


def commands_in(text):
    """Command lines of the exporter in scripts, units and code blocks, each as words, without what follows a pipe."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for found in re.finditer(r"(?:^|[\s/`'\"(&|])mozaiks-exporter(?::[\w.-]+)?((?:[ ,\"']+[\w./=:$%{}@<>*~+-]+)+)", joined):
        words = re.split(r"[ ,\"']+", found[1].strip())
        if found[1][0] in " \"'" and words:
            yield [word for word in words if word]


def check(known):
    seen = 0
    for path in files("**/*", "compose/.env"):
        if path.is_relative_to(SKIPPED) or "files" in path.parts or "secrets" in path.parts[-2:-1]:
            continue
        text = path.read_text(encoding="utf-8")
        for variable in re.findall(r"MOZAIKS_EXPORTER_[A-Z0-9_]+", text):
            seen += 1
            if variable not in known.variables and path.name != "check":
                fault(name(path), f"{variable} is no variable of the exporter")
        for words in commands_in(text):
            # Prose and names of units and images go on otherwise.
            if not words or not re.fullmatch(r"(--[a-z].*|[a-z]+)", words[0]):
                continue
            if words[0].startswith("--") or words[0] in known.commands:
                seen += 1
                known.check_arguments(name(path), words)
    return f"{seen} mentions of {len(known.variables)} variables and {len(known.commands)} commands"
