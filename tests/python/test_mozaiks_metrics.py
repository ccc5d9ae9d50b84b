#!/usr/bin/env python3
"""The client alone, before a server that does what it is told.

Before the exporter it is tried by client_load.py.
"""

import ast
import asyncio
import contextlib
import datetime
import decimal
import gzip
import http.server
import json
import logging
import math
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CLIENT = ROOT / "deploy/python/mozaiks_metrics.py"
sys.path.insert(0, str(CLIENT.parent))

import mozaiks_metrics  # noqa: E402
from mozaiks_metrics import PerformanceManager, wrap  # noqa: E402


class Server(http.server.ThreadingHTTPServer):
    """Answers from a script, then with 202 for all. Remembers what came."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = []
        self.requests = []
        self.connections = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/api/v1/events"

    @property
    def events(self):
        return [event for request in self.requests for event in request["events"]]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        events = [json.loads(line) for line in body.splitlines()]
        request = {"headers": self.headers, "events": events, "at": time.monotonic()}
        self.server.requests.append(request)
        self.server.connections.add(self.client_address)
        answer = self.server.script.pop(0) if self.server.script else taken
        status, headers, text = answer(request)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


def answer(accepted=0, duplicates=0, errors=()):
    told = {"accepted": accepted, "duplicates": duplicates, "rejected": len(errors)}
    return json.dumps({**told, "errors": list(errors), "durable": True}).encode()


def taken(request):
    return 202, {}, answer(len(request["events"]))


def status(code, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: (code, named, b'{"detail":"as told"}')


class Case(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def manager(self, url=None, **options):
        options.setdefault("batch_seconds", 0.01)
        manager = PerformanceManager(url or self.server.url, **options)
        self.addCleanup(manager.close, 0)
        return manager


class Api(Case):
    def test_the_recording_api_becomes_events(self):
        manager = self.manager()
        manager.record_workflow_start("c", "acme", "Generator", "alice")
        manager.record_agent_turn("c", "planner", 2.5, "gpt-4o", 1500, 800, 0.05)
        manager.record_usage_delta("c", "planner", "gpt-4o", 1, 2, 0.5, 0.25)
        manager.record_tool_call("c", "search", False, duration_sec=0.4)
        manager.record_workflow_end("c", success=False)
        self.assertTrue(manager.flush())
        events = self.server.events
        ids = {event.pop("event_id") for event in events}
        self.assertEqual(len(ids), 5)
        for event in events:
            self.assertAlmostEqual(event.pop("ts"), time.time(), delta=60)
            self.assertEqual(event.pop("chat_id"), "c")
        turn = {"agent_name": "planner", "model": "gpt-4o"}
        self.assertEqual(
            events,
            [
                {"event": "workflow_start", "app_id": "acme", "workflow_name": "Generator",
                 "user_id": "alice"},
                {"event": "agent_turn", **turn, "prompt_tokens": 1500, "completion_tokens": 800,
                 "cost": 0.05, "duration_sec": 2.5},
                {"event": "usage_delta", **turn, "prompt_tokens": 1, "completion_tokens": 2,
                 "cost": 0.5, "duration_sec": 0.25},
                {"event": "tool_call", "tool_name": "search", "success": False,
                 "duration_sec": 0.4},
                {"event": "workflow_end", "success": False},
            ],
        )  # fmt: skip
        self.assertEqual(manager.stats()["accepted"], 5)
        self.assertEqual(len(self.server.connections), 1)

    def test_calls_may_be_awaited_gathered_and_made_tasks(self):
        async def work():
            manager = await self.manager()
            await manager.initialize()
            await manager.record_workflow_start(chat_id="c", app_id="a", workflow_name="w")
            calls = [manager.record_agent_turn("c", "x", prompt_tokens=1) for _ in range(10)]
            await asyncio.gather(*calls)
            await asyncio.create_task(manager.record_tool_call("c", "t"))
            await asyncio.wait_for(manager.record_workflow_end("c"), 1)
            return manager, await manager.snapshot_chat("c"), await manager.aggregate()

        manager, chat, sums = asyncio.run(work())
        self.assertTrue(manager.flush())
        self.assertEqual(len(self.server.events), 13)
        self.assertEqual((chat["agent_turns"], chat["tool_calls"]), (10, 1))
        self.assertEqual((sums["active_chats"], sums["total_prompt_tokens"]), (0, 10))
        self.assertTrue(manager.initialized)

    def test_snapshots_have_the_shape_of_the_runtimes_own(self):
        manager = self.manager()
        at = datetime.datetime(2025, 10, 2, 10, tzinfo=datetime.timezone.utc)
        manager.record_workflow_start("c", "a", "w", "u", ts=at)
        manager.record_agent_turn("c", "x", 2.5, prompt_tokens=3, cost=0.5, ts=at)
        manager.record_tool_call("c", "t", success=False)
        manager.record_agent_turn("stranger", "x")
        manager.record_workflow_end("c", ts=at + datetime.timedelta(minutes=15))
        expected = {
            "chat_id": "c", "app_id": "a", "workflow_name": "w", "user_id": "u",
            "started_at": "2025-10-02T10:00:00Z", "ended_at": "2025-10-02T10:15:00Z",
            "runtime_sec": 900.0, "agent_turns": 1, "tool_calls": 0, "errors": 1,
            "last_turn_duration_sec": 2.5, "prompt_tokens": 3, "completion_tokens": 0, "cost": 0.5,
        }  # fmt: skip
        self.assertEqual(manager.snapshot_all().result(), [expected])
        self.assertEqual(manager.snapshot_chat("nobody").result(), None)
        sums = manager.aggregate().result()
        self.assertEqual((sums["tracked_chats"], sums["total_cost"]), (1, 0.5))

    def test_no_more_chats_are_remembered_than_there_is_room_for(self):
        manager = self.manager(queue_events=1)
        for n in range(mozaiks_metrics.MAX_CHATS + 5):
            manager.record_workflow_start(f"c{n}", "a", "w")
            if n in (3, 4):
                manager.record_workflow_end(f"c{n}")
        chats = manager.snapshot_all().result()
        self.assertEqual(len(chats), mozaiks_metrics.MAX_CHATS)
        known = {chat["chat_id"] for chat in chats}
        self.assertTrue(known.isdisjoint({"c3", "c4", "c0", "c1", "c2"}))

    def test_nothing_that_is_wrong_raises(self):
        class Hostile:
            def __getattr__(self, name):
                raise RuntimeError("no")

            def __str__(self):
                raise RuntimeError("no")

        manager = self.manager()
        bad = [None, "", b"x", [], {}, Hostile()]
        with self.assertLogs("mozaiks_metrics", "WARNING") as logs:
            for value in bad:
                manager.record_workflow_start(value, "a", "w")
                manager.record_workflow_start("c", value, "w")
                manager.record_agent_turn("c", value)
                manager.record_tool_call("c", value)
                manager.record_workflow_end(value)
            manager.record_agent_turn()
            manager.record_workflow_end("c", event_id="x" * 257)
            manager.record_workflow_end("c", ts="yesterday")
            manager.record_workflow_end("c", ts=math.inf)
            manager.record_agent_turn("c", "x" * 70_000)
            self.assertEqual(manager.stats()["invalid"], 5 * len(bad) + 5)
            self.assertEqual(manager.stats()["recorded"], 0)
            wrong = [math.nan, math.inf, -1, -0.5, "5", [], 10**400, 1e300, Hostile(), 1.5j]
            self.assertIsNone(mozaiks_metrics._number(2**53 + 1, "prompt_tokens", 2**53, []))
            for value in wrong:
                manager.record_usage_delta("c", prompt_tokens=value, completion_tokens=7)
                manager.record_usage_delta("c", cost=value, completion_tokens=7)
                manager.record_agent_turn("c", "x", value, completion_tokens=7)
            manager.record_usage_delta("c", model={}, completion_tokens=7)
        self.assertTrue(manager.flush())
        self.assertEqual(manager.stats()["mended"], 3 * len(wrong) + 1)
        fields = {"event", "event_id", "ts", "chat_id", "completion_tokens", "agent_name"}
        for event in self.server.events:
            self.assertTrue(set(event) <= fields, event)
            self.assertEqual(event["completion_tokens"], 7)
        # Each kind once, however often it happened, and none with a value in it.
        messages = [record.getMessage() for record in logs.records]
        self.assertEqual(len(messages), len(set(messages)))
        self.assertLess(len(messages), 25)

    def test_odd_values_that_are_fine_go_as_they_are(self):
        manager = self.manager()
        manager.record_usage_delta("\ud800 \U0001f980", cost=decimal.Decimal("0.1"))
        manager.record_usage_delta(7, prompt_tokens=2**53, completion_tokens=3.0)
        manager.record_usage_delta("c", None, None, None, None, None, None)
        manager.record_usage_delta("c", agent_name="x", future_argument=object(), app_id="a")
        self.assertTrue(manager.flush())
        first, second, third, fourth = self.server.events
        self.assertEqual((first["chat_id"], first["cost"]), ("? \U0001f980", 0.1))
        self.assertEqual(second["chat_id"], "7")
        self.assertEqual((second["prompt_tokens"], second["completion_tokens"]), (2**53, 3))
        self.assertEqual(set(third), {"event", "event_id", "ts", "chat_id"})
        self.assertEqual(fourth["app_id"], "a")
        self.assertEqual(manager.stats()["mended"], 0)


class Delivery(Case):
    def test_a_batch_is_repeated_unchanged_until_it_is_acknowledged(self):
        cut = lambda request: (202, {}, b'{"accepted":')  # noqa: E731
        alien = lambda request: (200, {}, b"<html>hello</html>")  # noqa: E731
        self.server.script = [status(503), status(404), cut, alien, status(401)]
        manager = self.manager()
        with self.assertLogs("mozaiks_metrics", "WARNING"):
            for n in range(100):
                manager.record_usage_delta("c", prompt_tokens=n + 1)
            self.assertTrue(manager.flush(30))
        bodies = [request["events"] for request in self.server.requests]
        self.assertEqual(len(bodies), 6)
        self.assertTrue(all(body == bodies[0] for body in bodies))
        stats = manager.stats()
        self.assertEqual((stats["accepted"], stats["retries"]), (100, 5))

    def test_retry_after_is_honoured(self):
        self.server.script = [status(429, Retry_After="2")]
        manager = self.manager()
        with self.assertLogs("mozaiks_metrics", "WARNING"):
            manager.record_workflow_end("c")
            self.assertTrue(manager.flush(20))
        first, second = (request["at"] for request in self.server.requests)
        self.assertGreaterEqual(second - first, 2.0)

    def test_dates_and_nonsense_in_retry_after_are_understood(self):
        retry_after = mozaiks_metrics._retry_after
        self.assertEqual(retry_after("7"), 7.0)
        self.assertEqual(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), 0.0)
        for nonsense in (None, "", "soon", "-", "1e9", "Wed, 99 Oct"):
            self.assertEqual(retry_after(nonsense), None)

    def test_large_batches_are_packed_and_small_ones_are_not(self):
        manager = self.manager(batch_events=500)
        manager.record_workflow_end("c")
        self.assertTrue(manager.flush())
        for _ in range(500):
            manager.record_workflow_end("c")
        self.assertTrue(manager.flush())
        codings = [request["headers"]["content-encoding"] for request in self.server.requests]
        self.assertEqual((codings[0], "gzip" in codings), (None, True))

    def test_a_server_without_gzip_gets_it_plain(self):
        def refuse(request):
            is_packed = request["headers"]["content-encoding"]
            return status(415)(request) if is_packed else taken(request)

        self.server.script = [refuse] * 4
        manager = self.manager()
        for _ in range(200):
            manager.record_workflow_end("c")
        self.assertTrue(manager.flush())
        self.assertEqual(manager.stats()["accepted"], 200)

    def test_one_event_that_spoils_a_body_costs_itself(self):
        def picky(request):
            chats = [event["chat_id"] for event in request["events"]]
            return status(400)(request) if "bad" in chats else taken(request)

        self.server.script = [picky] * 40
        manager = self.manager(batch_seconds=0.2)
        with self.assertLogs("mozaiks_metrics", "WARNING"):
            for n in range(64):
                manager.record_workflow_end("bad" if n == 20 else f"c{n}")
            self.assertTrue(manager.flush(20))
        stats = manager.stats()
        self.assertEqual((stats["accepted"], stats["dropped"]["refused"]), (63, 1))

    def test_a_body_that_is_refused_before_it_is_all_sent_is_cut_in_halves(self):
        refuse = b"HTTP/1.1 413 x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        sizes = []

        def serve(listener):
            while True:
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection, connection.makefile("rb") as stream:
                        head = b"".join(iter(stream.readline, b"\r\n"))
                        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                        sizes.append(size)
                        if size > 300_000:
                            connection.sendall(refuse)
                            connection.shutdown(socket.SHUT_WR)
                            # Lets it arrive; then the rest of the body meets a closed door.
                            time.sleep(0.2)
                            continue
                        count = stream.read(size).count(b"\n") + 1
                        text = answer(count)
                        head = f"HTTP/1.1 202 x\r\nContent-Length: {len(text)}\r\n"
                        connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + text)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=serve, args=(listener,), daemon=True).start()
            manager = self.manager(f"http://127.0.0.1:{listener.getsockname()[1]}/", batch_events=40)
            manager._gzip = False
            manager._batch_seconds = 5
            for _ in range(40):
                manager.record_workflow_end("x" * 25_000)
            self.assertTrue(manager.flush(20))
        self.assertEqual(manager.stats()["accepted"], 40)
        self.assertGreater(max(sizes), 300_000)

    def test_rejected_events_are_counted_and_logged_once_a_kind(self):
        def reject(request):
            errors = [
                {"index": n, "error": f"event {n} is too heavy"}
                for n in range(len(request["events"]))
            ]
            return 422, {}, answer(errors=errors)

        self.server.script = [reject] * 50
        manager = self.manager(batch_events=5)
        with self.assertLogs("mozaiks_metrics", "WARNING") as logs:
            for _ in range(50):
                manager.record_workflow_end("c")
            self.assertTrue(manager.flush())
        self.assertEqual((len(logs.records), manager.stats()["rejected"]), (1, 50))

    def test_what_does_not_fit_is_dropped_and_counted(self):
        # Nothing listens there.
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        manager = self.manager(url, queue_events=100)
        with self.assertLogs("mozaiks_metrics", "WARNING"):
            for _ in range(250):
                manager.record_workflow_end("c")
        stats = manager.stats()
        self.assertEqual((stats["recorded"], stats["queued"]), (250, 100))
        self.assertEqual(stats["dropped"]["overflow"], 150)
        begun = time.monotonic()
        self.assertFalse(manager.flush(0.1))
        with self.assertLogs("mozaiks_metrics", "WARNING"):
            manager.close(0.2)
        self.assertLess(time.monotonic() - begun, 5)
        stats = manager.stats()
        self.assertEqual((stats["queued"], stats["dropped"]["exit"]), (0, 100))
        manager.record_workflow_end("c")
        self.assertEqual(manager.stats()["dropped"]["exit"], 101)

    def test_bytes_are_bounded_as_well(self):
        manager = self.manager("http://127.0.0.1:9/", queue_bytes=100_000, batch_seconds=60)
        with self.assertLogs("mozaiks_metrics", "WARNING"):
            for _ in range(50):
                manager.record_workflow_end("x" * 10_000)
        self.assertEqual(manager.stats()["queued"], 9)

    def test_no_call_waits_for_a_server_that_does_not_answer(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            manager = self.manager(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=30)
            slowest = 0.0
            for _ in range(2000):
                begun = time.monotonic()
                manager.record_agent_turn("c", "x", 1.0, "m", 1, 1, 0.1)
                slowest = max(slowest, time.monotonic() - begun)
            self.assertLess(slowest, 1.0)
            with self.assertLogs("mozaiks_metrics", "WARNING"):
                begun = time.monotonic()
                manager.close(0.3)
            self.assertLess(time.monotonic() - begun, 5)

    def test_the_token_is_shown_and_never_logged(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "token"
            path.write_text("one\n", encoding="utf-8")
            manager = self.manager(token_file=str(path))
            manager.record_workflow_end("c")
            self.assertTrue(manager.flush())
            path.write_text("two\n", encoding="utf-8")
            manager.record_workflow_end("c")
            self.assertTrue(manager.flush())
        shown = [request["headers"]["authorization"] for request in self.server.requests]
        self.assertEqual(shown, ["Bearer one", "Bearer two"])
        broken = self.manager(token="s3cret\r\nx: y")
        with self.assertLogs("mozaiks_metrics", "WARNING") as logs:
            broken.record_workflow_end("c")
            self.assertFalse(broken.flush(0.2))
        self.assertNotIn("s3cret", repr(logs.output) + repr(broken.stats()))

    def test_an_address_that_is_none_drops_and_says_so_once(self):
        for url in ("ftp://x/", "no address", "http://127.0.0.1:port/", "http://[::1/"):
            with self.assertLogs("mozaiks_metrics", "WARNING") as logs:
                manager = PerformanceManager(url)
                manager.record_workflow_end("c")
                manager.record_workflow_end("c")
            self.assertEqual(manager.stats()["dropped"]["refused"], 2)
            self.assertLessEqual(len(logs.records), 2)

    def test_proxies_of_the_environment_are_not_used(self):
        program = (
            "import mozaiks_metrics as m; p = m.get_performance_manager(); "
            "p.record_workflow_end('c'); print(p.flush(10))"
        )
        env = {**os.environ, "PYTHONPATH": str(CLIENT.parent)}
        env.update(MOZAIKS_EXPORTER_EVENTS_URL=self.server.url, PYTHONDONTWRITEBYTECODE="1")
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            env[name] = "http://127.0.0.1:9"
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=env, capture_output=True, timeout=30)
        self.assertEqual(done.stdout, b"True\n", done.stderr)

    def test_many_threads_lose_nothing(self):
        manager = self.manager()

        def work(number):
            for _ in range(200):
                manager.record_usage_delta(f"c{number}", prompt_tokens=1)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(manager.flush())
        self.assertEqual(len({event["event_id"] for event in self.server.events}), 1600)


class Wrapping(Case):
    def test_a_wrapped_manager_does_what_it_did_and_is_told_once(self):
        class Manager:
            def __init__(self):
                self.calls = []

            async def record_workflow_start(self, chat_id, app_id, workflow_name, user_id):
                self.calls.append(("start", chat_id, app_id, workflow_name, user_id))
                return "started"

            async def record_agent_turn(self, chat_id, agent_name, duration_sec, model, **usage):
                await asyncio.sleep(0)
                await self.record_usage_delta(chat_id, agent_name, model, **usage)
                return "turned"

            async def record_usage_delta(self, chat_id, agent_name, model, prompt_tokens=0):
                self.calls.append(("usage", chat_id, agent_name, model, prompt_tokens))

            def record_tool_call(self, chat_id, tool_name, success):
                raise KeyError("its own")

            async def record_workflow_end(self, chat_id, success=True):
                self.calls.append(("end", chat_id))

        recorder = self.manager()
        self.assertIs(wrap(wrap(Manager, recorder), recorder), Manager)
        manager = Manager()
        self.assertIs(wrap(manager, recorder), manager)

        async def work():
            started = await manager.record_workflow_start("c", "a", "w", user_id="u")
            self.assertEqual(started, "started")
            turned = await manager.record_agent_turn("c", "x", 1.5, "m", prompt_tokens=5)
            self.assertEqual(turned, "turned")
            await manager.record_usage_delta("c", "x", "m", 7)
            with self.assertRaises(KeyError):
                manager.record_tool_call("c", "t", True)
            with self.assertRaises(TypeError):
                await manager.record_workflow_end()
            await manager.record_workflow_end("c")

        asyncio.run(work())
        self.assertTrue(recorder.flush())
        self.assertEqual(
            manager.calls,
            [("start", "c", "a", "w", "u"), ("usage", "c", "x", "m", 5),
             ("usage", "c", "x", "m", 7), ("end", "c")],
        )  # fmt: skip
        told = [(event["event"], event.get("prompt_tokens")) for event in self.server.events]
        self.assertEqual(
            told,
            [("workflow_start", None), ("agent_turn", 5), ("usage_delta", 7), ("tool_call", None),
             ("workflow_end", None)],
        )  # fmt: skip

    def test_what_cannot_be_wrapped_stays_as_it_is(self):
        class Slotted:
            __slots__ = ()

            def record_workflow_end(self, chat_id):
                return chat_id

        with self.assertLogs("mozaiks_metrics", "WARNING"):
            manager = wrap(Slotted(), self.manager())
        self.assertEqual(manager.record_workflow_end("c"), "c")
        with self.assertLogs("mozaiks_metrics", "WARNING"):
            self.assertIsNone(wrap(None, self.manager()))


class Source(unittest.TestCase):
    def test_the_client_is_python_3_9(self):
        ast.parse(CLIENT.read_text(encoding="utf-8"), feature_version=(3, 9))

    def test_the_client_needs_the_standard_library_alone(self):
        tree = ast.parse(CLIENT.read_text(encoding="utf-8"))
        names = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.split(".")[0])
        # The list of the standard library's modules came with Python 3.10.
        known = getattr(sys, "stdlib_module_names", names)
        self.assertEqual(names - set(known), set())
        self.assertGreater(len(names), 10)


if __name__ == "__main__":
    logging.getLogger("mozaiks_metrics").propagate = True
    with contextlib.suppress(KeyboardInterrupt):
        unittest.main()
