"""What the shippers make of the runtime's log: each is run on recorded lines, as far as it runs without a network.

Vector's language, Fluent Bit's Lua and the Ruby of Logstash and Fluentd are run by their interpreters. Filebeat's
processors are read here, the few that its file uses. All have to come to the same events, which fit the index.
"""

import datetime
import http.server
import json
import os
import re
import subprocess
import tempfile
import threading

import logstash_pipeline_parser
import vrl_python
import yaml

from common import DEPLOY, ROOT, fault

LOGS = DEPLOY / "logs"
FIXTURES = ROOT / "tests/fixtures/runtime"
RECORDED = ["logs/production_json/mozaiks.log", "logs/development_json/mozaiks.log"]
# What the recordings have no line of.
MADE = [
    '{"ts": "2026-11-22T01:45:51+00:00", "level": "INFO", "logger": "autogen.logger.file_logger", "msg": "sk-secret"}',
    '{"ts": "2026-11-22T01:45:51.5+00:00", "level": "INFO", "logger": "x", "msg": "half", "extra": {"cost": NaN}}',
    "12:00:00.123 [ INFO] pretty - line of the other format",
    '{"ts": "2026-11-22T01:45:51.518971+00:00", "level": "INFO", "logger": "x", "msg": "both", "extra": '
    '{"workflow": "A", "workflow_name": "b", "tool": "t", "tool_name": "u", "cost": 0.5, "cost_usd": 1.5}}',
    '{"ts": "2026-11-22T01:45:51.518971+00:00", "level": "ERROR", "logger": "x", "msg": "bare"}',
    "[1]",
]
TRANSCRIPTS = "autogen.logger.file_logger"
MOVED = {"workflow_name": ["workflow", "workflow_name"], "agent": ["agent", "agent_name"],
         "tool": ["tool", "tool_name"], "cost_usd": ["cost", "cost_usd"]}
MOVED |= {name: [name] for name in ("chat_id", "app_id", "user_id", "model", "prompt_tokens", "completion_tokens",
                                   "total_tokens", "duration_sec", "cached", "success", "session_id")}


def lines():
    # On \n only: other separators of Unicode stand in lines.
    for name in RECORDED:
        yield from (line for line in (FIXTURES / name).read_text(encoding="utf-8").split("\n") if line)
    yield from MADE


def strict(text):
    def refuse(_):
        raise ValueError("no JSON")
    return json.loads(text, parse_constant=refuse)


def expected(line):
    """The event of README.md, or None where it must not be shipped."""
    if TRANSCRIPTS in line:
        return None
    try:
        read = strict(line)
    except ValueError:
        read = None
    if not isinstance(read, dict):
        return {"message": line}
    extra = {key: value for key, value in (read.get("extra") or {}).items() if value is not None and key != "taskName"}
    if extra.get("workflow_name") == "performance":
        del extra["workflow_name"]
    event = {"@timestamp": read["ts"], "message": read["msg"],
             "log": {"level": read["level"], "logger": read["logger"],
                     "origin": {"function": read.get("fn"), "file": {"name": read.get("file"), "line": read.get("line")}}},
             "mozaiks": {}}
    for field, keys in MOVED.items():
        for key in keys:
            if key in extra:
                event["mozaiks"][field] = extra.pop(key)
                break
    event["mozaiks"]["extra"] = extra
    if read.get("exception"):
        raised = read["exception"]
        event["error"] = {"type": raised["type"], "message": raised["message"], "stack_trace": raised["trace"]}
    return event


CONSTANT = {"service": {"name": "mozaiksai"}, "event": {"dataset": "mozaiksai.runtime"}}


def plain(event):
    """Without what is nothing (Lua knows no empty list), with the time as a number, so that notations may differ."""
    if event is None:
        return None
    def tidy(value):
        if isinstance(value, dict):
            kept = {key: tidy(item) for key, item in value.items()}
            return {key: item for key, item in kept.items() if item not in (None, {}, [])}
        # Vector reads the last of 17 digits otherwise.
        return float(f"{value:.15g}") if isinstance(value, float) else value
    event = tidy(event)
    event.pop("ecs", None)
    stamp = event.pop("@timestamp", None)
    if stamp:
        event["@timestamp"] = round(datetime.datetime.fromisoformat(re.sub(r"Z| UTC", "+00:00", stamp)).timestamp(), 3)
    return event


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, **more)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def by_ruby():
    code = ("require 'json'; load ARGV[0]; STDIN.each_line(\"\\n\", chomp: true) { |l| "
            "puts JSON.generate(Mozaiks.event(l)) }")
    said = run(["ruby", "-EUTF-8:UTF-8", "-e", code, str(LOGS / "mozaiks.rb")], input="\n".join(lines()) + "\n")
    return [strict(line) for line in said.split("\n") if line]


def by_fluent_bit():
    """Fluent Bit reads JSON by itself and hands tables over; here they are written as Lua."""
    def lua(value):
        if isinstance(value, dict):
            return "{" + ",".join(f"[{lua(k)}]={lua(v)}" for k, v in value.items() if v is not None) + "}"
        if isinstance(value, list):
            return "{" + ",".join(map(lua, value)) + "}"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, (int, float)):
            return repr(value)
        return '"' + "".join(f"\\{byte:03d}" for byte in value.encode("utf-8")) + '"'
    calls = []
    for line in lines():
        try:
            record = strict(line)
        except ValueError:
            record = None
        record = record if isinstance(record, dict) else {"log": line}
        stamp = record.pop("ts", None)
        calls.append(f"emit({lua(record)}, {lua(stamp) if stamp else 'nil'})")
    harness = r"""
local function text(s)
  return '"' .. s:gsub('[%c"\\]', function(c) return string.format("\\u%04x", c:byte()) end) .. '"'
end
local function json(v)
  if type(v) == "table" then
    local out = {}
    if #v > 0 then
      for _, item in ipairs(v) do out[#out + 1] = json(item) end
      return "[" .. table.concat(out, ",") .. "]"
    end
    for key, item in pairs(v) do out[#out + 1] = text(key) .. ":" .. json(item) end
    return "{" .. table.concat(out, ",") .. "}"
  elseif type(v) == "string" then return text(v)
  elseif type(v) == "number" then return string.format("%.17g", v)
  end
  return tostring(v)
end
function emit(record, stamp)
  local code, at, made = ship("mozaiksai.runtime", stamp, record)
  if code == -1 then print("null") return end
  assert(code == 2 and at == stamp)
  made["@timestamp"] = stamp
  print(json(made))
end
"""
    # A chunk for each call: a function of Lua holds so many constants and no more.
    wrapped = "\n".join(f"(function() {call} end)()" + ";" for call in calls)
    said = run(["lua5.1", "-"], input=(LOGS / "fluent-bit/mozaiks.lua").read_text() + harness + wrapped)
    return [strict(line) for line in said.split("\n") if line]


def by_vector():
    runtime = vrl_python.VRLRuntime()
    program = (LOGS / "vector/mozaiks.vrl").read_text()
    read_at = "2026-11-25T00:00:00Z"
    for line in lines():
        try:
            event = runtime.execute(program, {"message": line, "timestamp": read_at}).processed_event
        except (vrl_python.VRLRuntimeError, RuntimeError) as error:
            # `abort` ends a program like an error does; Vector drops both.
            assert "abort" in str(error), error
            yield None
            continue
        if event["@timestamp"] == read_at:
            del event["@timestamp"]
        yield event


class Filebeat:
    """What its processors do, after the documentation; another name than those in the file is an error."""

    def __init__(self):
        self.config = yaml.safe_load((LOGS / "filebeat/filebeat.yml").read_text())
        self.target = self.config["filebeat.inputs"][0]["parsers"][0]["ndjson"]["target"]

    def find(self, event, path):
        for key in path.split("."):
            if not isinstance(event, dict) or key not in event:
                return None, None
            holder, event = event, event[key]
        return holder, path.split(".")[-1]

    def put(self, event, path, value):
        *folders, last = path.split(".")
        for key in folders:
            event = event.setdefault(key, {})
        event[last] = value

    def holds(self, event, condition):
        (kind, asked), = condition.items()
        if kind == "or":
            return any(self.holds(event, one) for one in asked)
        (path, value), = asked.items()
        holder, key = self.find(event, path)
        if holder is None:
            return False
        return {"equals": lambda: holder[key] == value, "contains": lambda: value in str(holder[key])}[kind]()

    def event(self, line):
        try:
            read = strict(line)
            assert isinstance(read, dict)
            event = {self.target: read}
        except (ValueError, AssertionError):
            event = {"message": line}
        for step in self.config["processors"]:
            (name, do), = step.items()
            if name == "drop_event.when.or":
                name, do = "drop_event", {"when": {"or": do}}
            when = {"equals": do["when.equals"]} if "when.equals" in do else do.get("when")
            if when and not self.holds(event, when):
                continue
            if name == "drop_event":
                return None
            if name == "timestamp":
                holder, key = self.find(event, do["field"])
                if holder is not None:
                    event["@timestamp"] = holder[key]
            elif name == "drop_fields":
                for path in do["fields"]:
                    holder, key = self.find(event, path)
                    if holder is not None:
                        del holder[key]
            elif name == "rename":
                assert do["fail_on_error"] is False and do["ignore_missing"]
                for move in do["fields"]:
                    holder, key = self.find(event, move["from"])
                    if holder is not None and holder[key] is not None and self.find(event, move["to"])[0] is None:
                        self.put(event, move["to"], holder.pop(key))
            elif name == "add_fields":
                for path, value in do["fields"].items():
                    self.put(event, path, value)
            else:
                raise AssertionError(f"no processor {name} is known here")
        return event


def mapped(template, event, path=""):
    """Fields that the index has no place or no fitting place for."""
    kinds = {"keyword": str, "text": str, "match_only_text": str, "wildcard": (str, list), "date": (str, float),
             "long": int, "double": (int, float), "boolean": bool, "flattened": dict}
    for key, value in event.items():
        where = f"{path}{key}"
        place = template.get(key)
        if place is None:
            yield f"{where} has no place in the index"
        elif "properties" in place:
            yield from mapped(place["properties"], value, where + ".")
        elif not isinstance(value, kinds[place["type"]]) or (place["type"] == "long" and isinstance(value, bool)):
            yield f"{where} is {value!r}, which is no {place['type']}"


def check_logstash():
    """Its grammar alone; what its Ruby does is seen by running it."""
    try:
        tree = logstash_pipeline_parser.Pipeline((LOGS / "logstash/mozaiks.conf").read_text()).parse()
    except Exception as error:
        fault("deploy/logs/logstash/mozaiks.conf", f"is no pipeline: {error}")
        return
    if [section[0] for section in tree] != ["input", "filter", "output"]:
        fault("deploy/logs/logstash/mozaiks.conf", f"has other sections: {tree}")


def check_kibana():
    """Every reference leads to an object of the file, and every field that is asked for is in the index."""
    objects = [json.loads(line) for line in (LOGS / "elastic/kibana.ndjson").read_text().splitlines()]
    there = {(one["type"], one["id"]) for one in objects}
    if len(there) != len(objects):
        fault("kibana.ndjson", "an id stands there twice")
    template = json.loads((LOGS / "elastic/index-template.json").read_text())["template"]["mappings"]["properties"]
    known = {"___records___"} | set(fields(template))
    for one in objects:
        where = f"kibana.ndjson, {one['id']}"
        for reference in one["references"]:
            if (reference["type"], reference["id"]) not in there:
                fault(where, f"refers to {reference['id']}, which is not there")
        text = json.dumps(one["attributes"])
        for field in re.findall(r'"sourceField": "([^"]+)"', text) + one["attributes"].get("columns", []):
            if field not in known:
                fault(where, f"asks for {field}, which is not in the index")
        for query in re.findall(r'\\?"query\\?": ?\\?"([^"\\]*)', text):
            for field in re.findall(r"([\w.]+) :", query):
                if field not in known:
                    fault(where, f"asks for {field}, which is not in the index")
        layers = one["attributes"].get("state", {}).get("datasourceStates", {}).get("formBased", {}).get("layers", {})
        for layer in layers.values():
            if set(layer["columnOrder"]) != set(layer["columns"]):
                fault(where, "orders other columns than it has")
    panels = json.loads(next(one for one in objects if one["type"] == "dashboard")["attributes"]["panelsJSON"])
    taken = [(panel["gridData"]["x"] + x, panel["gridData"]["y"] + y) for panel in panels
             for x in range(panel["gridData"]["w"]) for y in range(panel["gridData"]["h"])]
    if len(set(taken)) != len(taken) or max(x for x, _ in taken) >= 48:
        fault("kibana.ndjson", "panels overlap or stand beyond the grid")


def fields(properties, path=""):
    for key, place in properties.items():
        yield path + key
        yield from fields(place.get("properties", {}), f"{path}{key}.")
        yield from fields(place.get("fields", {}), f"{path}{key}.")


class Elastic(http.server.BaseHTTPRequestHandler):
    """What setup.sh talks to: notes what it is asked, and takes it or not."""

    seen, takes = [], True

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.seen.append((self.path, self.headers, body))
        said = json.dumps({"success": self.takes}, separators=(",", ":")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_PUT

    def log_message(self, *_):
        pass


def check_setup():
    """setup.sh sends each file to its place with the key, and says so if Kibana does not take it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elastic)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with tempfile.NamedTemporaryFile("w") as key:
        key.write("a2V5\n")
        key.flush()
        environment = {"PATH": os.environ["PATH"], "ELASTICSEARCH_URL": url, "KIBANA_URL": url}
        for Elastic.takes, more in ((True, {"ELASTICSEARCH_API_KEY_FILE": key.name}), (False, {})):
            Elastic.seen.clear()
            done = subprocess.run(["sh", LOGS / "elastic/setup.sh"], env=environment | more, capture_output=True, text=True)
            if (done.returncode == 0) is not Elastic.takes:
                fault("setup.sh", f"ends with {done.returncode} where Kibana says {Elastic.takes}: {done.stderr}")
            files = {"/_ilm/policy/mozaiksai": "lifecycle.json", "/_index_template/mozaiksai": "index-template.json",
                     "/api/saved_objects/_import?overwrite=true": "kibana.ndjson"}
            if [path for path, _, _ in Elastic.seen] != list(files):
                fault("setup.sh", f"asks for {[path for path, _, _ in Elastic.seen]}")
            for path, headers, body in Elastic.seen:
                if (LOGS / "elastic" / files.get(path, "")).read_text() not in body:
                    fault("setup.sh", f"sends something else to {path}")
                if headers.get("Authorization") != ("ApiKey a2V5" if more else None):
                    fault("setup.sh", f"shows {headers.get('Authorization')} to {path}")
    server.shutdown()


def check():
    check_logstash()
    check_setup()
    check_kibana()
    for script in [*LOGS.rglob("*.sh"), DEPLOY / "compose/secrets.sh", DEPLOY / "docker/rootfs"]:
        run(["sh", "-n", str(script)])
    for script in LOGS.rglob("*.rb"):
        run(["ruby", "-c", str(script)])
    wanted = [plain(one and {**one, **CONSTANT}) for one in map(expected, lines())]
    template = json.loads((LOGS / "elastic/index-template.json").read_text())["template"]["mappings"]
    for event in wanted:
        for wrong in mapped(template["properties"], event or {}):
            fault("deploy/logs/elastic/index-template.json", wrong)
    filebeat = Filebeat()
    engines = {"mozaiks.rb": by_ruby, "fluent-bit/mozaiks.lua": by_fluent_bit,
               "filebeat/filebeat.yml": lambda: [filebeat.event(line) for line in lines()], "vector/mozaiks.vrl": by_vector}
    for name, engine in engines.items():
        made = [plain(event) for event in engine()]
        if len(made) != len(wanted):
            fault(f"deploy/logs/{name}", f"{len(made)} events of {len(wanted)} lines")
            continue
        for line, got, want in zip(lines(), made, wanted):
            if got != want:
                fault(f"deploy/logs/{name}", f"makes {json.dumps(got)} of {line[:200]}, not {json.dumps(want)}")
                break
    return f"{len(wanted)} lines through {len(engines)} shippers"

