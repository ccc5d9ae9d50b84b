"""What schemathesis cannot know of the bodies that the control listener takes.

A body is packed where its own header says so. Bodies of lines are text to OpenAPI 3.1; here they are
lists of events, written one in each line, so that good and bad ones are made of them. And one bad
event among good ones does not refuse a request: it has to be among the rejected.
"""

import gzip
import json

import schemathesis

LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
EVENTS = "/api/v1/events"


@schemathesis.hook
def before_load_schema(context, raw_schema):
    content = raw_schema["paths"][EVENTS]["post"]["requestBody"]["content"]
    event = {"$ref": "#/components/schemas/Event"}
    for media_type in LINES:
        content[media_type] = {"schema": {"type": "array", "minItems": 1, "items": event}}


def packed(context, body):
    headers = context.case.headers or {}
    coding = next((headers[name] for name in headers if name.lower() == "content-encoding"), None)
    return gzip.compress(body) if coding in ("gzip", "x-gzip") else body


@schemathesis.serializer("application/json")
def write_json(context, value):
    return packed(context, value if isinstance(value, bytes) else json.dumps(value).encode())


@schemathesis.serializer(*LINES)
def write_lines(context, value):
    if not isinstance(value, bytes):
        values = value if isinstance(value, list) else [value]
        value = b"\n".join(json.dumps(value).encode() for value in values)
    return packed(context, value)


@schemathesis.check
def bad_events_are_rejected(context, response, case):
    # The runtime of the query is fixed, so that it is right even where it was to be wrong.
    parts = {} if case.meta is None else case.meta.components
    is_bad = any(part.mode.is_negative for place, part in parts.items() if place != "query")
    if case.path == EVENTS and is_bad and response.status_code == 202:
        what = getattr(case.meta.phase.data, "description", None)
        assert response.json()["rejected"] > 0, f"what the document forbids was accepted: {what}"


@schemathesis.check
def counts_add_up(context, response, case):
    if case.path != EVENTS or response.status_code not in (202, 422):
        return
    told = response.json()
    if "rejected" in told:
        assert told["rejected"] == len(told["errors"]), "not each rejected event has its error"
        assert told["durable"], "it was not kept"
        if response.status_code == 422:
            assert told["accepted"] == told["duplicates"] == 0 < told["rejected"]
