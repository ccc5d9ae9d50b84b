#!/usr/bin/env python3
"""Records through the client, as a runtime would, while the caller does things to the exporter.

client_load.py SCENARIO URL

Says on standard output when something may be done, goes on when a line comes in, and ends with the
client's `stats()` as JSON, together with what was recorded.
"""

import asyncio
import http.client
import json
import logging
import multiprocessing
import os
import pathlib
import socketserver
import sys
import threading
import time
import urllib.parse

CLIENT = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy/python"
sys.path.insert(0, str(CLIENT))

import mozaiks_metrics  # noqa: E402
from mozaiks_metrics import PerformanceManager  # noqa: E402



class Log(logging.Handler):
    """What the client logs, for the caller to look at."""

    def __init__(self):
        super().__init__()
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


LOG = Log()
mozaiks_metrics.log.addHandler(LOG)

# Longer than any wait of the caller.
PATIENCE = 60


def start(manager, chat="c"):
    manager.record_workflow_start(chat, "acme", "Desk", "alice")


def turn(manager, n, chat="c"):
    manager.record_agent_turn(chat, f"agent-{n % 3}", 0.5, "m", n % 10 + 1, 1, 0.001)


def tokens(turns):
    return sum(n % 10 + 1 for n in range(turns))


def say(word):
    print(word, flush=True)


def end(manager, turns, **more):
    """Delivers what is left, and tells the caller."""
    flushed = manager.flush(PATIENCE)
    told = {"turns": turns, "tokens": tokens(turns), "flushed": flushed, "log": LOG.said}
    say(json.dumps({**told, **manager.stats(), **more}))


def outage(url):
    """Records without a pause until it is told to stop."""
    manager = PerformanceManager(url, batch_events=100, batch_seconds=0.05)
    mozaiks_metrics.LAST_PAUSE = 0.5
    told = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), told.set()), daemon=True).start()
    start(manager)
    turns = 0
    while not told.is_set():
        turn(manager, turns)
        turns += 1
        if turns == 500:
            say("recording")
        time.sleep(0.001)
    manager.record_workflow_end("c")
    end(manager, turns)


class Lossy(socketserver.StreamRequestHandler):
    """Hands requests on and keeps two of three answers for itself."""

    def handle(self):
        while self.rfile.readline():
            headers = http.client.parse_headers(self.rfile)
            body = self.rfile.read(int(headers["content-length"]))
            upstream = http.client.HTTPConnection(self.server.upstream, timeout=PATIENCE)
            upstream.request("POST", "/api/v1/events", body, dict(headers))
            answer = upstream.getresponse()
            text = answer.read()
            upstream.close()
            self.server.answers += 1
            if self.server.answers % 3:
                return
            head = f"HTTP/1.1 {answer.status} x\r\ncontent-length: {len(text)}\r\n\r\n"
            self.wfile.write(head.encode() + text)


def lossy(url):
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Lossy) as proxy:
        proxy.upstream, proxy.answers = urllib.parse.urlsplit(url).netloc, 0
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        mozaiks_metrics.FIRST_PAUSE, mozaiks_metrics.LAST_PAUSE = 0.01, 0.05
        address = "http://{}:{}/".format(*proxy.server_address)
        manager = PerformanceManager(address, batch_events=50, batch_seconds=0.05)
        start(manager)
        for n in range(1000):
            turn(manager, n)
        manager.flush(PATIENCE)
        end(manager, 1000, answers=proxy.answers)


def overflow(url):
    manager = PerformanceManager(url, queue_events=500, batch_seconds=0.05)
    mozaiks_metrics.LAST_PAUSE = 0.5
    start(manager)
    for n in range(999):
        turn(manager, n)
    say("full")
    # One place of the queue has the start.
    end(manager, 499)


def child(manager, first, last, how):
    for n in range(first, last):
        turn(manager, n)
    if how == "flush":
        manager.flush(PATIENCE)


def spawned(url, first, last):
    os.environ["MOZAIKS_EXPORTER_EVENTS_URL"] = url
    child(mozaiks_metrics.get_performance_manager(), first, last, "exit")


def fork(url):
    os.environ["MOZAIKS_EXPORTER_EVENTS_URL"] = url
    manager = mozaiks_metrics.get_performance_manager()
    start(manager)
    for n in range(100):
        turn(manager, n)
    # The parent has not sent everything yet when its children begin.
    children = []
    for how, first in (("flush", 100), ("exit", 200)):
        pid = os.fork()
        if pid == 0:
            child(manager, first, first + 100, how)
            if how == "flush":
                os._exit(0)
            sys.exit(0)
        children.append(pid)
    forked = multiprocessing.get_context("fork").Process(
        target=child, args=(manager, 300, 400, "exit")
    )
    fresh = multiprocessing.get_context("spawn").Process(target=spawned, args=(url, 400, 500))
    forked.start()
    fresh.start()
    codes = [os.waitpid(pid, 0)[1] for pid in children]
    for process in (forked, fresh):
        process.join()
        codes.append(process.exitcode)
    for n in range(500, 600):
        turn(manager, n)
    end(manager, 600, codes=codes)


def coroutines(url):
    async def agent(manager, first, last):
        for n in range(first, last):
            await manager.record_agent_turn(
                chat_id="c", agent_name="a", duration_sec=0.5, model="m",
                prompt_tokens=n % 10 + 1, completion_tokens=1, cost=0.001,
            )  # fmt: skip
            await asyncio.sleep(0)

    async def work():
        manager = PerformanceManager(url)
        await manager.initialize()
        await manager.record_workflow_start(
            chat_id="c", app_id="acme", workflow_name="Desk", user_id="alice"
        )
        agents = [agent(manager, n, n + 50) for n in range(0, 1000, 50)]
        threads = [
            asyncio.to_thread(child, manager, n, n + 50, "exit") for n in range(1000, 1200, 50)
        ]
        await asyncio.gather(*agents, *threads)
        await manager.record_workflow_end(chat_id="c", success=True)
        return manager, await manager.aggregate()

    manager, seen = asyncio.run(work())
    end(manager, 1200, seen=seen["total_prompt_tokens"])


def leave(url):
    """Ends with events that were not sent."""
    manager = PerformanceManager(url, batch_events=1000, batch_seconds=PATIENCE)
    start(manager)
    for n in range(500):
        turn(manager, n)
    say("leaving")


def odd(url):
    """Whatever the client lets pass, the exporter takes."""
    manager = PerformanceManager(url)
    start(manager)
    for n in range(100):
        turn(manager, n)
    bad = [None, "", float("nan"), -1, 1e300, [], {}, object(), b"x", "\ud800", 2**53 + 1, 10**400]
    for value in [*bad, "\0", "\x7f\u2028", "x" * 30_000, 0, -0.0, 2**53, 1e12, 1e9, True]:
        manager.record_workflow_start(value, "odd", "odd", value)
        manager.record_workflow_start("odd", value, value)
        manager.record_usage_delta("odd", value, value, value, value, value, value)
        manager.record_tool_call("odd", value, value, value)
        manager.record_usage_delta("odd", ts=value, event_id=value)
        manager.record_workflow_end(value, value, app_id=value, user_id=value)
    end(manager, 100)


def token(url):
    """Shows the wrong token until it is told that the right one is there."""
    mozaiks_metrics.LAST_PAUSE = 0.5
    manager = PerformanceManager(url, batch_seconds=0.05)
    start(manager)
    for n in range(100):
        turn(manager, n)
    while "401" not in str(manager.stats()["last_error"]):
        time.sleep(0.01)
    say("refused")
    end(manager, 100)


SCENARIOS = (outage, lossy, overflow, fork, coroutines, leave, odd, token)

if __name__ == "__main__":
    {scenario.__name__: scenario for scenario in SCENARIOS}[sys.argv[1]](sys.argv[2])
