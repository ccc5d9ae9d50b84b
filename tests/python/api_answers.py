#!/usr/bin/env python3
"""Compares what the listeners answer with what the document says that they answer.

api_answers.py METRICS CONTROL GUARDED TOKEN

Asks each operation of the document at METRICS or CONTROL (as its tags say) with the examples that
stand in it, and the control listener with what it has to refuse; GUARDED wants TOKEN. Each answer
has to have a status of the document and the headers, the content type and the body that it gives
for it. Prints the answers as JSON: [["GET /metrics", 200], ...]. Ends with 1 and what is wrong.
"""

import contextlib
import gzip
import http.client
import json
import pathlib
import sys
import urllib.parse

import jsonschema_rs

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCUMENT = json.loads((ROOT / "src/server/openapi.json").read_text(encoding="utf-8"))
REGISTRY = jsonschema_rs.Registry([("urn:api", DOCUMENT)])
JSON = {"content-type": "application/json"}
LINES = {"content-type": "application/x-ndjson"}

wrong = []
seen = []


def find(pointer):
    at = DOCUMENT
    for step in pointer.split("/")[1:]:
        at = at[step.replace("~1", "/").replace("~0", "~")]
    return at


def resolved(pointer):
    """Where a pointer ends up once references are followed."""
    at = find(pointer)
    return resolved(at["$ref"][1:]) if "$ref" in at else pointer


def step(*names):
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


def problems(pointer, value):
    schema = {"$ref": "urn:api#" + urllib.parse.quote(pointer, safe="/~")}
    validator = jsonschema_rs.validator_for(schema, registry=REGISTRY, validate_formats=True)
    return [error.message for error in validator.iter_errors(value)]


def ask(address, method, target, headers=None, body=None):
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        # Who refuses a body may answer before it is all there, and read no more.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def compare(path, method, answer):
    """Checks an answer against its operation in the document."""
    status, headers, body = answer
    operation = f"{method} {path}"
    seen.append([operation, status])

    def say(what):
        wrong.append(f"{operation} {status}: {what}")

    pointer = step("paths", path, method.lower(), "responses", str(status))
    try:
        pointer = resolved(pointer)
    except KeyError:
        return say(f"the status is not in the document; {body[:200]}")
    response = find(pointer)
    for name in response.get("headers", {}):
        header = resolved(pointer + step("headers", name))
        value = headers.get(name)
        if value is None:
            say(f"no header {name}")
            continue
        schema = find(header + "/schema")
        value = int(value) if schema.get("type") == "integer" else value
        for problem in problems(header + "/schema", value):
            say(f"header {name}: {problem}")
    media_type = headers.get_content_type()
    if method == "HEAD":
        if body:
            say("a body after HEAD")
        return None
    if media_type not in response["content"]:
        return say(f"content type {media_type}")
    text = body.decode("utf-8")
    value = json.loads(text) if media_type == "application/json" else text
    for problem in problems(pointer + step("content", media_type, "schema"), value):
        say(problem)
    return None


def examples(content):
    """The examples of a body, with the pointers of their schemas."""
    for media_type, media in content.items():
        values = [example["value"] for example in media.get("examples", {}).values()]
        for value in values + ([media["example"]] if "example" in media else []):
            yield media_type, value


def check_examples(at, pointer=""):
    """Each example in the document has to be what it is an example of."""
    if isinstance(at, dict):
        for media_type, value in examples(at.get("content", {})):
            for problem in problems(pointer + step("content", media_type, "schema"), value):
                wrong.append(f"example at {pointer}: {problem}")
        for name, value in at.items():
            check_examples(value, pointer + step(name))
    elif isinstance(at, list):
        for index, value in enumerate(at):
            check_examples(value, pointer + step(str(index)))


def written(media_type, value):
    return (json.dumps(value) if media_type == "application/json" else value).encode()


def ask_as_documented(address_of):
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            target = path.replace("{chat_id}", "chat_abc123")
            bodies = operation.get("requestBody", {}).get("content", {})
            for tag in operation["tags"]:
                address = address_of[tag]
                for media_type, value in examples(bodies):
                    headers = {"content-type": media_type}
                    body = written(media_type, value)
                    answer = ask(address, method.upper(), target, headers, body)
                    compare(path, method.upper(), answer)
                    if answer[0] not in (202, 409):
                        wrong.append(f"{method} {path}: its example is answered with {answer}")
                if not bodies:
                    answer = ask(address, method.upper(), target)
                    compare(path, method.upper(), answer)
                    if answer[0] != 200:
                        wrong.append(f"{method} {path}: answered with {answer}")
                refuse_other_methods(address, path, target, item)


def refuse_other_methods(address, path, target, item):
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        if method.lower() in item:
            continue
        status, headers, body = ask(address, method, target)
        allowed = ", ".join(sorted(known.upper() for known in item))
        if (status, headers.get("allow")) != (405, allowed):
            wrong.append(f"{method} {path}: {status}, allow {headers.get('allow')}")
        check_error(f"{method} {path}", body)


def check_error(what, body):
    for problem in problems("/components/schemas/Error", json.loads(body)):
        wrong.append(f"{what}: {problem}")


def ask_for_trouble(metrics, control, guarded, token):
    end = b'{"event":"workflow_end","chat_id":"c"}'
    events, usage = "/api/v1/events", "/usage/ingest"
    packed = {**JSON, "content-encoding": "gzip"}
    for path, headers, body, expected in [
        (events, JSON, b"", 400),
        (events, JSON, b'{"event":', 400),
        (events, JSON, b"\xff\xfe", 400),
        (events, LINES, b"\n \n", 400),
        (events, packed, end, 400),
        (events, packed, gzip.compress(end)[:-9], 400),
        (events, packed, gzip.compress(end), 202),
        (events, packed, gzip.compress(b" " * (33 << 20)), 413),
        (events, JSON, b" " * ((8 << 20) + 1), 413),
        (events, JSON, b"[" + b",".join([end] * 10_001) + b"]", 413),
        (events, LINES, b"\n".join([end] * 10_001), 413),
        (events, {"content-type": "text/plain"}, end, 415),
        (events, {**JSON, "content-encoding": "br"}, end, 415),
        (events, {}, end, 202),
        (events, JSON, b"[]", 202),
        (events, JSON, b"[" + end + b",7]", 202),
        (events, JSON, b"7", 422),
        (events, LINES, b"{}\n{", 422),
        (events + "?runtime=nobody", JSON, end, 422),
        (usage, JSON, b"", 400),
        (usage, JSON, b"[]", 400),
        (usage, JSON, b"{}", 422),
        (usage, JSON, b'{"chat_id":"c","prompt_tokens":-1}', 422),
        (usage, JSON, b'{"chat_id":"d","event_id":"1","prompt_tokens":1}', 202),
        (usage, JSON, b'{"chat_id":"d","event_id":"1","prompt_tokens":1}', 409),
        (usage, {"content-type": "text/plain"}, b"{}", 415),
        (usage, JSON, b" " * ((8 << 20) + 1), 413),
    ]:
        expect(control, path, headers, body, expected)
    expect(guarded, events, JSON, end, 401)
    expect(guarded, usage, JSON, b'{"chat_id":"c"}', 401)
    expect(guarded, events, {**JSON, "authorization": f"Bearer {token}"}, end, 202)
    accept = {"accept": "application/json"}
    for path in ("/metrics", "/metrics/prometheus"):
        for method in ("GET", "HEAD"):
            compare(path, method, ask(metrics, method, path, accept))
    for method in ("GET", "HEAD"):
        answer = ask(metrics, method, "/metrics/perf/chats/nobody%2F%F0%9F%A6%80")
        compare("/metrics/perf/chats/{chat_id}", method, answer)
    for address in (metrics, control):
        status, _, body = ask(address, "GET", "/no/such/path")
        if status != 404:
            wrong.append(f"{address} answers {status} where there is nothing")
        check_error("GET /no/such/path", body)


def expect(address, path, headers, body, expected):
    answer = ask(address, "POST", path, headers, body)
    compare(path.split("?")[0], "POST", answer)
    if answer[0] != expected:
        wrong.append(f"POST {path} {headers} {body[:60]}: {answer[0]} is not {expected}")


def main():
    metrics, control, guarded, token = sys.argv[1:]
    for address in (metrics, control):
        if json.loads(ask(address, "GET", "/openapi.json")[2]) != DOCUMENT:
            wrong.append(f"{address} serves another document")
    check_examples(DOCUMENT)
    # What is pushed first is there when it is asked for.
    start = {"event": "workflow_start", "app_id": "a", "workflow_name": "w"}
    start["chat_id"] = "chat_abc123"
    expect(control, "/api/v1/events", JSON, json.dumps(start).encode(), 202)
    ask_as_documented({"metrics": metrics, "control": control})
    ask_for_trouble(metrics, control, guarded, token)
    print(json.dumps(seen))
    if wrong:
        sys.exit("\n".join(wrong))


main()
