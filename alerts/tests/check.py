"""Checks what promtool and amtool do not: that every alert has all it needs, and that all names exist.

Run by tests/run; needs PyYAML, promtool and amtool. `--table` prints which alert is tested how.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.parse

import yaml

ALERTS = pathlib.Path(__file__).resolve().parent.parent
RULES = sorted(ALERTS.glob("*.rules.yml"))
TESTS = sorted((ALERTS / "tests").glob("*.test.yml"))
RUNBOOKS = ALERTS / "runbooks"
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
SEVERITIES = {"critical", "warning", "info", "none"}
ANNOTATIONS = {"summary", "description", "value", "runbook_url", "dashboard_url"}
DASHBOARDS = ALERTS.parent / "grafana/dashboards"
RECORD = re.compile(r"[a-z_]+:[a-z_]+:[a-z0-9_]+")
# Served by others: Prometheus, Alertmanager and blackbox_exporter.
FOREIGN = re.compile(r"up$|ALERTS|probe_|prometheus_|alertmanager_")
faults = []


def fault(where, what):
    faults.append(f"{where}: {what}")


def groups():
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield path.name, group


def alerts():
    for file, group in groups():
        for rule in group["rules"]:
            if "alert" in rule:
                yield file, rule


def exported():
    """The series that docs/metrics.md knows, histograms by their parts."""
    reference = (ALERTS.parent / "docs/metrics.md").read_text()
    for name, kind in re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|", reference, re.M):
        yield from (name + part for part in ("_bucket", "_sum", "_count")) if kind == "histogram" else [name]


def metrics_in(expression):
    """What is asked for by name: words that no bracket follows, outside of strings and of label lists."""
    bare = re.sub(r'"[^"]*"|\'[^\']*\'', '""', expression)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    words = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\w*\s*\()", re.sub(r"\[[^\]]*\]|\boffset\s+\w+", "", bare))
    operators = {"and", "or", "unless", "bool", "vector", "inf", "nan", "e"}
    return {word for word in words if word.lower() not in operators}


def check_names(known):
    for file, group in groups():
        for rule in group["rules"]:
            for name in metrics_in(str(rule["expr"])) - known:
                if not FOREIGN.match(name):
                    fault(file, f"{rule.get('alert') or rule['record']} uses {name}, which nobody serves")
            for query in re.findall(r'(?:query|printf) "([^"\\{ (]+)', str(rule.get("annotations"))):
                if ":" in query and query not in known:
                    fault(file, f"{rule['alert']} quotes {query}, which nobody records")


def check_rules():
    for file, group in groups():
        where = f"{file}, {group['name']}"
        if group["interval"] not in ("15s", "30s", "1m", "2m", "5m"):
            fault(where, f"an interval of {group['interval']}")
        here = [rule["record"] for rule in group["rules"] if "record" in rule]
        before = set()
        for rule in group["rules"]:
            name = rule.get("alert") or rule["record"]
            for used in metrics_in(str(rule["expr"])) & set(here) - before:
                fault(where, f"{name} stands before {used}, which it uses")
            if "record" in rule:
                before.add(name)
                if not RECORD.fullmatch(name) or "_total" in name.split(":")[1]:
                    fault(where, f"{name} is not level:metric:operations")
    for file, rule in alerts():
        name, annotations = rule["alert"], rule.get("annotations", {})
        if rule.get("labels", {}).get("severity") not in SEVERITIES:
            fault(file, f"{name} has no severity that we know")
        if "$value" in str(rule.get("labels")):
            fault(file, f"{name} has a value in its labels")
        if "for" not in rule and name != "Watchdog":
            fault(file, f"{name} fires at the first sample")
        if set(annotations) != ANNOTATIONS:
            fault(file, f"{name} lacks {ANNOTATIONS ^ set(annotations)}")
        if not annotations.get("runbook_url", "").endswith(f"/{name}"):
            fault(file, f"{name} points to another runbook: {annotations.get('runbook_url')}")


def panels(board):
    """All panels, those inside rows as well."""
    for panel in board.get("panels", []):
        yield panel
        yield from panels(panel)


def check_links():
    """Each link to a dashboard leads to one that is there, to a panel of it, and sets variables that it has."""
    boards = {board["uid"]: board for board in map(json.loads, map(pathlib.Path.read_text, DASHBOARDS.glob("*.json")))}
    led = set()
    for file, rule in alerts():
        link = urllib.parse.urlsplit(rule.get("annotations", {}).get("dashboard_url", ""))
        uid = re.fullmatch(r"/d/([\w-]+)(?:/[\w-]+)?", link.path)
        board = boards.get(uid and uid[1])
        if not board:
            fault(file, f"{rule['alert']} leads to {link.path or 'nothing'}, and no dashboard has that uid")
            continue
        led.add(board["uid"])
        variables = {variable["name"] for variable in board["templating"]["list"]}
        ids = {str(panel["id"]) for panel in panels(board)}
        for name, value in urllib.parse.parse_qsl(link.query, keep_blank_values=True):
            if name == "viewPanel" and value.removeprefix("panel-") not in ids:
                fault(file, f"{rule['alert']} leads to panel {value} of {board['uid']}, which has none of that id")
            elif name.startswith("var-") and name.removeprefix("var-") not in variables:
                fault(file, f"{rule['alert']} sets {name}, which {board['uid']} has not")
            elif name not in ("viewPanel", "from", "to") and not name.startswith("var-"):
                fault(file, f"{rule['alert']} gives {board['uid']} {name}, which means nothing to it")
    return len(led)


def check_runbooks(known):
    names = {rule["alert"] for _, rule in alerts()}
    pages = {page.stem for page in RUNBOOKS.glob("*.md")}
    for name in sorted(names ^ pages):
        fault("runbooks", f"{name} is {'an alert without a page' if name in names else 'a page without an alert'}")
    queries = []
    for page in sorted(RUNBOOKS.glob("*.md")):
        text = page.read_text()
        if re.findall(r"^# (.*)$", text, re.M) != [page.stem] or re.findall(r"^## (.*)$", text, re.M) != HEADINGS:
            fault(page.name, f"is not # {page.stem}, ## {', ## '.join(HEADINGS)}")
        for link in re.findall(r"\]\((\w+)\.md\)", text):
            if link not in pages:
                fault(page.name, f"links to {link}, which is not there")
        found = [line for block in re.findall(r"```promql\n(.*?)```", text, re.S) for line in block.splitlines() if line]
        if not found:
            fault(page.name, "has no query")
        queries += [(page.name, query) for query in found]
        for quoted in re.findall(r"`(mozaiks_\w+|\w+:\w+:\w+)`", text):
            if quoted not in known and not any(name.startswith(quoted) for name in known):
                fault(page.name, f"speaks of {quoted}, which nobody serves")
    for page, query in queries:
        for name in metrics_in(query) - known:
            if not FOREIGN.match(name):
                fault(page, f"asks for {name}, which nobody serves")
    # promtool reads rules only, so each query becomes one.
    rules = [{"record": f"runbook:query:{number}", "expr": query} for number, (_, query) in enumerate(queries)]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "runbooks.rules.yml")
        path.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": rules}]}))
        said = run(["promtool", "check", "rules", path])
        if said:
            fault("runbooks", f"promtool cannot read a query: {said}")
    return len(queries)


def parameters(path):
    """Announced values: (line number, name, default, the line that holds it)."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        announced = re.fullmatch(r"\s*# parameter ([a-z0-9-]+): (.+)", line)
        if announced:
            value = next(text for text in lines[number + 1 :] if not text.strip().startswith("# parameter"))
            yield number + 1, announced[1], announced[2], value


def check_parameters():
    defaults = {}
    for path in [*RULES, *(ALERTS / f"{name}.yml" for name in ("alertmanager", "blackbox", "prometheus"))]:
        for number, name, default, line in parameters(path):
            where = f"{path.name}:{number}"
            if line.count(default) != 1:
                fault(where, f"the default of {name} does not stand exactly once in: {line.strip()}")
            if defaults.setdefault(name, default) != default:
                fault(where, f"{name} has two defaults")
    listed = dict(re.findall(r"^\| `([a-z0-9-]+)` \| `(.+?)` \|", (ALERTS / "README.md").read_text(), re.M))
    for name in sorted(defaults.keys() | listed.keys()):
        if defaults.get(name) != listed.get(name):
            fault("README.md", f"lists {name} as {listed.get(name)}, the files have {defaults.get(name)}")
    return len(defaults)


def check_routes():
    rows = set()
    config = ALERTS / "alertmanager.yml"
    for line in (ALERTS / "tests/routes.tsv").read_text().splitlines():
        if line.startswith("#"):
            continue
        receivers, labels = line.split("\t")
        pairs = dict(label.split("=", 1) for label in labels.split())
        rows.add((pairs["alertname"], pairs.get("severity")))
        said = run(["amtool", "config", "routes", "test", f"--config.file={config}",
                    f"--verify.receivers={receivers}", *labels.split()])
        if said:
            fault("routes.tsv", f"{labels} does not go to {receivers}: {said}")
    for _, rule in alerts():
        row = (rule["alert"], rule["labels"]["severity"])
        if row not in rows:
            fault("routes.tsv", f"no row for {row[0]} with severity {row[1]}")
    return len(rows)


def tested():
    """For each alert: tests in which it fires, is quiet all along, and clears."""
    table = {rule["alert"]: [0, 0, 0] for _, rule in alerts()}
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            seen = {}
            for case in test.get("alert_rule_test", []):
                seen.setdefault(case["alertname"], []).append((seconds(case["eval_time"]), bool(case.get("exp_alerts"))))
            for case in test.get("promql_expr_test", []):
                names = re.findall(r'alertname="(\w+)"', case["expr"])
                if "ALERTS" in case["expr"] and not names:
                    names = [n for s in case["exp_samples"] or [] for n in re.findall(r'alertname="(\w+)"', s.get("labels", ""))]
                    if not names:
                        names = [n for n in table if re.fullmatch("SLO.+Violation", n)]
                for name in names:
                    seen.setdefault(name, []).append((seconds(case["eval_time"]), bool(case.get("exp_samples"))))
            for name, states in seen.items():
                if name not in table:
                    fault(path.name, f"tests {name}, which is no alert")
                    continue
                states = [fires for _, fires in sorted(states, key=lambda state: state[0])]
                table[name][0] += any(states)
                table[name][1] += not any(states)
                table[name][2] += any(a and not b for a, b in zip(states, states[1:]))
    return table


def seconds(duration):
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return sum(int(n) * units[u] for n, u in re.findall(r"(\d+)([smhd])", duration))


def run(command):
    """What it said, if it refused."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit(f"{command[0]} is not on PATH; tests/run installs it")
    return (done.stdout + done.stderr).strip() if done.returncode else ""


def main():
    known = set(exported()) | {rule["record"] for _, group in groups() for rule in group["rules"] if "record" in rule}
    check_names(known)
    check_rules()
    queries = check_runbooks(known)
    boards = check_links()
    values = check_parameters()
    routes = check_routes()
    table = tested()
    for name, (fires, quiet, clears) in table.items():
        if not (fires and clears and quiet) and name != "Watchdog":
            fault("tests", f"{name}: {fires} tests where it fires, {quiet} where it is quiet, {clears} where it clears")
    if "--table" in sys.argv:
        print(f"{'alert':28} fires quiet clears")
        for name, counts in table.items():
            print(f"{name:28} {counts[0]:5} {counts[1]:5} {counts[2]:6}")
    if faults:
        sys.exit("\n".join(faults))
    print(f"alerts: {len(table)} alerts, {queries} queries of runbooks, {values} parameters, {routes} routes, {boards} dashboards led to: all as they must be")


main()
