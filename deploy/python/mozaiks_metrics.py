"""Records what a MozaiksAI runtime does and sends it to mozaiks-exporter.

One file, Python 3.9 or later, nothing to install. It has the recording API of the runtime's own
performance manager, so it can stand in its place:

    from mozaiks_metrics import get_performance_manager

or listen beside it, with no call site changed:

    import mozaiks_metrics
    mozaiks_metrics.wrap(PerformanceManager)

What it promises to the program it runs in: a call never waits for the network and never raises,
memory is bounded, and whatever is not sent is counted in `stats()` and logged. What it promises to
the numbers: an event is sent again, with the same id, until the exporter says that it is on its
disk, so each counts exactly once. Events are kept in memory only: those that the exporter has not
acknowledged when the process dies are lost, and so are new ones while the queue is full.

Addresses and secrets come from the environment:

    MOZAIKS_EXPORTER_EVENTS_URL         default http://127.0.0.1:9848/api/v1/events
    MOZAIKS_EXPORTER_EVENTS_TOKEN       bearer token
    MOZAIKS_EXPORTER_EVENTS_TOKEN_FILE  a file that holds it; read again for each request
"""

import atexit
import collections
import collections.abc
import contextlib
import contextvars
import datetime
import email.utils
import functools
import gzip
import http.client
import importlib
import inspect
import json
import logging
import math
import os
import random
import re
import ssl
import sys
import threading
import time
import urllib.parse
import weakref

__all__ = ["PerformanceManager", "get_performance_manager", "wrap"]
__version__ = "0.1.0"

DEFAULT_URL = "http://127.0.0.1:9848/api/v1/events"

# Two of the exporter's limits, so that what it would refuse is not sent: tokens that a double holds
# exactly, and sums that nobody spends.
MAX_TOKENS = 2**53
MAX_COST = 1e12
MAX_SECONDS = 1e9
# The end of the year 9999, after which nothing can be written as a date.
LAST_SECOND = 253402300799
# An id longer than this is no id of an event.
MAX_EVENT_ID_BYTES = 256
# A single event beyond this is a mistake of the caller, and would push out thousands of others.
MAX_EVENT_BYTES = 64 * 1024
# A request: far below the exporter's 10,000 events and 8 MiB, so that a lost answer repeats little.
MAX_BATCH_EVENTS = 1000
MAX_BATCH_BYTES = 1024 * 1024
# Smaller bodies fit in few packets as they are.
SMALLEST_GZIP = 4096
# Answers name each rejected event; this is more than a whole batch of them takes.
MAX_ANSWER_BYTES = 1024 * 1024
# Pauses between tries double from the first to the last, each shortened by up to half at random, so
# that many workers do not come back at once.
FIRST_PAUSE = 0.25
LAST_PAUSE = 30.0
# Doubling this often leads to the last pause in any case.
MAX_TRIES = 16
# A server that asks for more patience than this gets no more.
LONGEST_RETRY_AFTER = 300.0
# Kinds of trouble that are logged in full; what differs beyond them is counted only.
MAX_KINDS = 64
# How often at most it is logged that the exporter is not there.
COMPLAINT_SECONDS = 60.0
# Chats that `snapshot_*` and `aggregate` remember.
MAX_CHATS = 10_000

log = logging.getLogger("mozaiks_metrics")

# Whether a call of a wrapped manager is under way: what it calls of itself is told already.
_inside = contextvars.ContextVar("mozaiks_metrics_inside", default=False)

_recorders = weakref.WeakSet()


class _Answer(collections.abc.Coroutine):
    """What a call gives back: already done. It may be awaited or made a task, and need not be."""

    __slots__ = ("_value",)

    def __init__(self, value=None):
        self._value = value

    def result(self):
        """The value, for those who do not await."""
        return self._value

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration(self._value)

    def send(self, value):
        raise StopIteration(self._value)

    def throw(self, *error):
        raise error[0] if isinstance(error[0], BaseException) else error[0](*error[1:2])

    def close(self):
        pass


class _Invalid(ValueError):
    """An event that cannot be sent. Its text has no values in it, so it says what kind it is."""


def _text(value, name):
    if not isinstance(value, str):
        if value is None or isinstance(value, (bytes, dict, list, tuple, set)):
            raise _Invalid(f"{name} is no text")
        value = str(value)
    if not value:
        raise _Invalid(f"{name} is empty")
    # Half of a surrogate pair is no text in any encoding.
    return value.encode("utf-8", "replace").decode("utf-8")


def _number(value, name, most, mended):
    """A number as JSON has it; None where there is none, or one that cannot be counted.

    The names of the latter are added to `mended`: an event with a bad number in it has happened.
    """
    if value is None:
        return None
    try:
        number = float(value)
        fine = math.isfinite(number) and 0 <= number <= most and not isinstance(value, str)
        if fine and name.endswith("_tokens"):
            # Whole numbers stay exact; half a token is none.
            number = int(value)
            fine = number == value and number <= most
    except (TypeError, ValueError, OverflowError, ArithmeticError):
        fine = False
    if fine:
        return number
    mended.append(name)
    return None


def _seconds(ts):
    """A time as Unix seconds with microseconds."""
    if ts is None:
        ts = time.time()
    if isinstance(ts, datetime.datetime):
        ts = (ts if ts.tzinfo else ts.replace(tzinfo=datetime.timezone.utc)).timestamp()
    ts = float(ts)
    if not 0 <= ts <= LAST_SECOND:
        raise _Invalid("ts is no time")
    return round(ts, 6)


class _Chat:
    """What this process has recorded of one chat."""

    __slots__ = (
        "app_id", "workflow_name", "user_id", "started_at", "ended_at", "agent_turns", "tool_calls",
        "errors", "last_turn_duration_sec", "prompt_tokens", "completion_tokens", "cost",
    )  # fmt: skip

    def __init__(self, app_id, workflow_name, user_id, started_at):
        self.app_id, self.workflow_name, self.user_id = app_id, workflow_name, user_id
        self.started_at, self.ended_at = started_at, None
        self.agent_turns = self.tool_calls = self.errors = 0
        self.last_turn_duration_sec = None
        self.prompt_tokens = self.completion_tokens = 0
        self.cost = 0.0

    def add(self, event):
        kind = event["event"]
        self.prompt_tokens += event.get("prompt_tokens", 0)
        self.completion_tokens += event.get("completion_tokens", 0)
        self.cost += event.get("cost", 0.0)
        if kind == "workflow_start":
            self.ended_at = None
        elif kind == "workflow_end":
            self.ended_at = event["ts"]
        elif kind == "agent_turn":
            self.agent_turns += 1
            if "duration_sec" in event:
                self.last_turn_duration_sec = event["duration_sec"]
        elif kind == "tool_call":
            if event["success"]:
                self.tool_calls += 1
            else:
                self.errors += 1

    def shown(self, chat_id, now):
        until = now if self.ended_at is None else self.ended_at
        return {
            "chat_id": chat_id,
            "app_id": self.app_id,
            "workflow_name": self.workflow_name,
            "user_id": self.user_id,
            "started_at": _iso(self.started_at),
            "ended_at": None if self.ended_at is None else _iso(self.ended_at),
            "runtime_sec": max(0.0, round(until - self.started_at, 6)),
            "agent_turns": self.agent_turns,
            "tool_calls": self.tool_calls,
            "errors": self.errors,
            "last_turn_duration_sec": self.last_turn_duration_sec,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost": self.cost,
        }


def _iso(seconds):
    at = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return at.isoformat().replace("+00:00", "Z")


def _never_raises(method):
    """Lets a method fail without its caller noticing. The result may be awaited or not."""

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        try:
            return _Answer(method(self, *args, **kwargs))
        except Exception as error:  # noqa: BLE001 - nothing of ours reaches the runtime
            self._refuse(method.__name__, error)
            return _Answer()

    return call


class PerformanceManager:
    """Takes events, and sends them from a thread of its own.

    All `record_*` calls take further keywords: `ts` (Unix seconds or a datetime), `event_id`,
    `app_id`, `workflow_name` and `user_id`; others are ignored. The event is recorded by the call
    itself; awaiting the result is allowed and gives None at once.
    """

    def __init__(
        self,
        url=None,
        token=None,
        *,
        token_file=None,
        batch_events=500,
        batch_seconds=1.0,
        queue_events=100_000,
        queue_bytes=32 * 1024 * 1024,
        timeout=10.0,
        exit_seconds=3.0,
        flush_interval_sec=None,
    ):
        """Nothing is sent, and no thread started, before the first event.

        A batch goes out when it has `batch_events` or its first event is `batch_seconds` old. The
        queue holds `queue_events` and `queue_bytes`, whichever is reached first; while it is full,
        new events are dropped and counted. `timeout` is for each step of a request, `exit_seconds`
        for what is left to be sent at the end of the process. `flush_interval_sec` is what the
        runtime's own manager takes; writing to databases is the exporter's business here.
        """
        env = os.environ.get
        self._url = url or env("MOZAIKS_EXPORTER_EVENTS_URL") or DEFAULT_URL
        self._token = token or env("MOZAIKS_EXPORTER_EVENTS_TOKEN")
        self._token_file = token_file or env("MOZAIKS_EXPORTER_EVENTS_TOKEN_FILE")
        self._batch_events = max(1, min(batch_events, MAX_BATCH_EVENTS))
        self._batch_seconds = max(0.0, batch_seconds)
        self._queue_events = max(1, queue_events)
        self._queue_bytes = max(MAX_EVENT_BYTES, queue_bytes)
        self._timeout = max(0.1, timeout)
        self._exit_seconds = max(0.0, exit_seconds)
        self.initialized = False
        self._chats = {}
        # In the order of their ends.
        self._ended = {}
        self._fresh()
        self._address = self._read_address()
        _recorders.add(self)

    def _fresh(self):
        """An empty queue without a thread: at the beginning, and in a child after a fork."""
        # Re-entrant: a signal handler or a finalizer may record in the middle of a recording.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._queue = collections.deque()
        self._bytes = 0
        self._sending = 0
        self._thread = None
        self._closing = None
        self._flushing = 0
        self._finalized = False
        self._kinds = set()
        # Events that were recorded, that came into the queue, and that are done with.
        self._recorded = self._taken = self._finished = 0
        self._over = False
        self._said = -math.inf
        self._counts = dict.fromkeys(
            ("accepted", "duplicates", "rejected", "invalid", "mended", "batches", "retries"), 0
        )
        self._dropped = dict.fromkeys(("overflow", "refused", "exit"), 0)
        self._last_error = None
        self._connection = None
        self._gzip = True
        self._parts = collections.deque()
        # The program's own generator is left alone: somebody may have seeded it.
        self._dice = random.Random(os.urandom(16))

    def _read_address(self):
        try:
            parts = urllib.parse.urlsplit(self._url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("it has to be http://HOST:PORT/PATH or https://HOST:PORT/PATH")
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            return parts.scheme, parts.hostname, parts.port, target
        except ValueError as error:
            self._warn("address", "the events address cannot be used, nothing is sent: %s", error)
            return None

    # ---- the runtime's recording API

    def __await__(self):
        # Some runtimes await `get_performance_manager()`.
        return _Answer(self)

    @_never_raises
    def initialize(self):
        """Does nothing that is needed; there for the runtime, which calls it."""
        self.initialized = True

    @_never_raises
    def record_workflow_start(self, chat_id, app_id, workflow_name, user_id=None, **more):
        """A chat begins."""
        more.update(app_id=_text(app_id, "app_id"))
        more.update(workflow_name=_text(workflow_name, "workflow_name"), user_id=user_id)
        self._record("workflow_start", chat_id, {}, more)

    @_never_raises
    def record_agent_turn(
        self, chat_id, agent_name, duration_sec=None, model=None, prompt_tokens=0,
        completion_tokens=0, cost=0.0, **more,
    ):  # fmt: skip
        """An agent has had its turn. Its tokens and cost are not to be recorded once more."""
        fields = {"agent_name": _text(agent_name, "agent_name"), "model": model}
        fields.update(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
        fields.update(cost=cost, duration_sec=duration_sec)
        self._record("agent_turn", chat_id, fields, more)

    @_never_raises
    def record_usage_delta(
        self, chat_id, agent_name=None, model=None, prompt_tokens=0, completion_tokens=0, cost=0.0,
        duration_sec=None, **more,
    ):  # fmt: skip
        """Tokens and money were spent outside a turn that was recorded."""
        fields = {"agent_name": agent_name, "model": model, "cost": cost}
        fields.update(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
        fields.update(duration_sec=duration_sec)
        self._record("usage_delta", chat_id, fields, more)

    @_never_raises
    def record_tool_call(self, chat_id, tool_name, success=True, duration_sec=None, **more):
        """A tool was called."""
        fields = {"tool_name": _text(tool_name, "tool_name"), "success": bool(success)}
        fields.update(duration_sec=duration_sec)
        self._record("tool_call", chat_id, fields, more)

    @_never_raises
    def record_workflow_end(self, chat_id, success=True, **more):
        """A chat has ended."""
        self._record("workflow_end", chat_id, {"success": bool(success)}, more)

    @_never_raises
    def snapshot_chat(self, chat_id):
        """One chat as this process recorded it, None if it did not start here."""
        with self._lock:
            chat = self._chats.get(chat_id)
            return chat and chat.shown(chat_id, time.time())

    @_never_raises
    def snapshot_all(self):
        """All chats that started in this process, in the order of their starts."""
        return self._shown()

    @_never_raises
    def aggregate(self):
        """Sums over these chats, and they themselves."""
        chats = self._shown()
        sums = {"active_chats": sum(chat["ended_at"] is None for chat in chats)}
        sums["tracked_chats"] = len(chats)
        for name in ("agent_turns", "tool_calls", "errors", "prompt_tokens", "completion_tokens"):
            sums["total_" + name] = sum(chat[name] for chat in chats)
        sums["total_cost"] = math.fsum(chat["cost"] for chat in chats)
        sums["chats"] = chats
        return sums

    def _shown(self):
        with self._lock:
            now = time.time()
            return [chat.shown(chat_id, now) for chat_id, chat in self._chats.items()]

    # ---- what is done with events

    def stats(self):
        """How much was recorded, and what became of it. Nothing is lost without being here.

        `recorded` is the sum of `accepted`, `duplicates`, `rejected`, `dropped` and `queued`.
        `invalid` calls recorded nothing; `mended` events went without a value that is no number.
        """
        with self._lock:
            return {
                "recorded": self._recorded,
                **self._counts,
                "dropped": dict(self._dropped),
                "queued": self._taken - self._finished,
                "queued_bytes": self._bytes,
                "last_error": self._last_error,
            }

    def flush(self, timeout=10.0):
        """Waits until all that was recorded before is settled. False if it takes too long.

        This blocks; in a coroutine call it in a thread.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            target = self._taken
            self._flushing = max(self._flushing, target)
            self._ensure_thread()
            self._changed.notify_all()
            while self._finished < target:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def close(self, timeout=None):
        """Sends what is left, for so long at most, and takes nothing more. Called at exit."""
        timeout = self._exit_seconds if timeout is None else timeout
        deadline = time.monotonic() + timeout
        with self._changed:
            if self._closing is None:
                self._closing = deadline
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            lost = self._taken - self._finished
            self._over = True
            self._dropped["exit"] += lost
            self._finished = self._taken
            self._queue.clear()
            self._bytes = 0
            self._changed.notify_all()
        if lost:
            log.warning("%d events were not acknowledged before the end", lost)

    def _record(self, kind, chat_id, fields, more):
        mended = []
        event = {"event": kind, "event_id": None, "ts": _seconds(more.get("ts"))}
        event["chat_id"] = _text(chat_id, "chat_id")
        event_id = more.get("event_id")
        if event_id is not None:
            event_id = _text(event_id, "event_id")
            if len(event_id.encode("utf-8")) > MAX_EVENT_ID_BYTES:
                raise _Invalid("event_id is too long")
        # From the system, not from a generator that a forked child would share.
        event["event_id"] = event_id or os.urandom(16).hex()
        for name in ("app_id", "workflow_name", "user_id"):
            if more.get(name) not in (None, ""):
                event[name] = _text(more[name], name)
        for name, value in fields.items():
            if name == "cost":
                value = _number(value, name, MAX_COST, mended)
            elif name == "duration_sec":
                value = _number(value, name, MAX_SECONDS, mended)
            elif name.endswith("_tokens"):
                value = _number(value, name, MAX_TOKENS, mended)
            elif name in ("model", "agent_name") and value not in (None, ""):
                try:
                    value = _text(value, name)
                except _Invalid:
                    mended.append(name)
                    continue
            # What is 0 adds nothing, and may be left out.
            if value not in (None, "") and (value or name == "success"):
                event[name] = value
        line = json.dumps(event, separators=(",", ":"), allow_nan=False).encode("ascii")
        if len(line) > MAX_EVENT_BYTES:
            raise _Invalid("the event is too large")
        reason = self._enqueue(line, event, bool(mended))
        if mended:
            names = ", ".join(mended)
            self._warn(("mended", names), "recorded without %s: not a number to count", names)
        if reason == "overflow":
            self._warn(reason, "the queue is full, events are dropped; is the exporter there?")
        elif reason is not None:
            self._warn(reason, "events are dropped: %s", reason)

    def _enqueue(self, line, event, is_mended):
        with self._changed:
            self._note(event)
            self._recorded += 1
            self._counts["mended"] += is_mended
            size = len(line)
            held = len(self._queue) + self._sending
            reason = None
            if self._address is None:
                reason = "refused"
            elif self._closing is not None:
                reason = "exit"
            elif held >= self._queue_events or self._bytes + size > self._queue_bytes:
                # The newest goes: what was taken stays in order, starts before what follows.
                reason = "overflow"
            if reason is not None:
                self._dropped[reason] += 1
                return reason
            self._queue.append((line, time.monotonic()))
            self._taken += 1
            self._bytes += size
            self._ensure_thread()
            if len(self._queue) == 1 or len(self._queue) == self._batch_events:
                self._changed.notify_all()
            return None

    def _note(self, event):
        """Keeps what `snapshot_*` shows."""
        chat_id = event["chat_id"]
        chat = self._chats.get(chat_id)
        if chat is None:
            if event["event"] != "workflow_start":
                return
            if len(self._chats) >= MAX_CHATS:
                oldest = next(iter(self._ended or self._chats))
                self._ended.pop(oldest, None)
                del self._chats[oldest]
            user_id = event.get("user_id", "unknown")
            chat = _Chat(event["app_id"], event["workflow_name"], user_id, event["ts"])
            self._chats[chat_id] = chat
        chat.add(event)
        self._ended.pop(chat_id, None)
        if chat.ended_at is not None:
            self._ended[chat_id] = None

    def _refuse(self, name, error):
        with self._lock:
            self._counts["invalid"] += 1
        # The text of a foreign error may hold what was given; its kind does not.
        what = str(error) if isinstance(error, _Invalid) else type(error).__name__
        kind = ("invalid", name, what)
        self._warn(kind, "%s was called with what cannot be sent: %s", name, what)

    def _warn(self, kind, message, *args):
        """Logs the first of each kind of trouble. Not under the lock: handlers may record."""
        with self._lock:
            if kind in self._kinds or len(self._kinds) >= MAX_KINDS:
                return
            self._kinds.add(kind)
        log.warning(message, *args)

    # ---- the sending thread

    def _ensure_thread(self):
        """Under the lock. Where no thread can be started, the next event tries again."""
        if self._thread is not None and self._thread.is_alive():
            return
        if not self._queue and not self._parts:
            return
        thread = threading.Thread(target=self._run, name="mozaiks-metrics", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._last_error = str(error)
            return
        self._thread = thread
        # Children of `multiprocessing` end without atexit, by finalizers of its own.
        process = sys.modules.get("multiprocessing.process")
        if not self._finalized and process is not None and process.parent_process() is not None:
            self._finalized = True
            util = importlib.import_module("multiprocessing.util")
            util.Finalize(self, PerformanceManager.close, args=(self,), exitpriority=0)

    def _run(self):
        while True:
            batch = self._next()
            if batch is None:
                self._hang_up()
                return
            try:
                self._deliver(batch)
            except Exception as error:  # noqa: BLE001 - a thread that ended would lose everything
                self._hang_up()
                self._last_error = repr(error)[:200]
                self._warn(("thread", type(error)), "sending failed unexpectedly: %r", error)
                with self._changed:
                    self._parts.appendleft(batch)
                self._pause(MAX_TRIES, None)

    def _next(self):
        """The next batch, waited for; None at the end."""
        with self._changed:
            while not self._parts and not self._queue:
                if self._closing is not None:
                    return None
                self._changed.wait()
            if self._closing is not None and time.monotonic() >= self._closing:
                return None
            if self._parts:
                return self._parts.popleft()
            due = self._queue[0][1] + self._batch_seconds
            while len(self._queue) < self._batch_events:
                left = due - time.monotonic()
                if left <= 0 or self._closing is not None or self._flushing > self._finished:
                    break
                self._changed.wait(left)
            batch, size = [], 0
            while self._queue and len(batch) < self._batch_events:
                size += len(self._queue[0][0])
                if batch and size > MAX_BATCH_BYTES:
                    break
                batch.append(self._queue.popleft()[0])
            self._sending += len(batch)
            return batch

    def _deliver(self, batch):
        """Sends one batch until it is settled, always the same events under the same ids."""
        body, coding = b"\n".join(batch), None
        if self._gzip and len(body) >= SMALLEST_GZIP:
            body, coding = gzip.compress(body, 1), "gzip"
        tries = 0
        while True:
            try:
                status, retry_after, answer = self._post(body, coding)
                problem = f"status {status}: {str(answer.get('detail', ''))[:200]}"
            except (OSError, http.client.HTTPException, ValueError) as error:
                status, retry_after, answer = None, None, {}
                # The text of the others may hold a header, and with it the token.
                text = f": {error}" if isinstance(error, OSError) else ""
                problem = type(error).__name__ + text
            if self._is_settled(batch, status, answer):
                return
            if status in (400, 413):
                self._split(batch, problem)
                return
            if status == 415 and coding:
                self._gzip, coding, body = False, None, b"\n".join(batch)
                continue
            # All else may be put right while we wait: an exporter that is down, a wrong token.
            tries += 1
            with self._changed:
                self._counts["retries"] += 1
                self._last_error = problem
            self._complain(problem)
            if not self._pause(tries, retry_after):
                return

    def _complain(self, problem):
        now = time.monotonic()
        if now - self._said >= COMPLAINT_SECONDS:
            self._said = now
            log.warning("events could not be delivered, they will be sent again: %s", problem)

    def _is_settled(self, batch, status, answer):
        counts = [answer.get(name) for name in ("accepted", "duplicates", "rejected")]
        told = all(isinstance(count, int) for count in counts) and sum(counts) == len(batch)
        if status not in (200, 202, 422) or not told:
            return False
        with self._changed:
            if self._done(batch):
                for name, count in zip(("accepted", "duplicates", "rejected"), counts):
                    self._counts[name] += count
                self._counts["batches"] += 1
        errors = answer.get("errors")
        for error in errors if isinstance(errors, list) else []:
            text = str(error.get("error") if isinstance(error, dict) else error)[:200]
            # What differs in each event does not make another kind.
            kind = re.sub(r"\d+|\"[^\"]*\"|'[^']*'|`[^`]*`", "", text)
            self._warn(("rejected", kind), "the exporter rejects an event: %s", text)
        return True

    def _split(self, batch, problem):
        """A body was refused as a whole: halves find out which event it was."""
        with self._changed:
            if len(batch) > 1:
                middle = len(batch) // 2
                self._parts.extendleft((batch[middle:], batch[:middle]))
                return
            if self._done(batch):
                self._dropped["refused"] += 1
        self._warn(("refused", problem[:10]), "the exporter refuses an event: %s", problem)

    def _done(self, batch):
        """Under the lock. False if these events were given up already."""
        if self._over:
            return False
        self._sending -= len(batch)
        self._bytes -= sum(map(len, batch))
        self._finished += len(batch)
        self._changed.notify_all()
        return True

    def _pause(self, tries, retry_after):
        """Waits before the next try. False if there is no time for one."""
        pause = min(LAST_PAUSE, FIRST_PAUSE * 2 ** min(tries - 1, MAX_TRIES))
        pause *= 1 - self._dice.random() / 2
        pause = max(pause, min(retry_after or 0.0, LONGEST_RETRY_AFTER))
        due = time.monotonic() + pause
        with self._changed:
            was_closing = self._closing is not None
            while True:
                now = time.monotonic()
                closing = self._closing
                if closing is not None and now >= closing:
                    return False
                # One more try at once when the end is announced.
                if now >= due or (closing is not None and not was_closing):
                    return True
                until = due if closing is None else min(due, closing)
                self._changed.wait(max(0.001, until - now))

    def _post(self, body, coding):
        """One request. A kept connection that turns out to be closed is replaced once."""
        while True:
            reused = self._connection is not None
            try:
                return self._exchange(body, coding)
            except (OSError, http.client.HTTPException):
                self._hang_up()
                if not reused:
                    raise

    def _exchange(self, body, coding):
        scheme, host, port, target = self._address
        timeout = self._timeout
        if self._closing is not None:
            timeout = max(0.05, min(timeout, self._closing - time.monotonic()))
        if self._connection is None:
            # http.client knows nothing of proxies, which must not see loopback.
            if scheme == "https":
                context = ssl.create_default_context()
                make = functools.partial(http.client.HTTPSConnection, context=context)
            else:
                make = http.client.HTTPConnection
            connection = make(host, port, timeout=timeout)
            connection.connect()
            self._connection = connection
        self._connection.sock.settimeout(timeout)
        headers = {
            "Content-Type": "application/x-ndjson",
            "Accept": "application/json",
            "User-Agent": f"mozaiks-metrics/{__version__}",
        }
        if coding:
            headers["Content-Encoding"] = coding
        token = self._read_token()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        # Who refuses a body may answer before it is all there, and read no more.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.request("POST", target, body, headers)
        response = self._connection.getresponse()
        text = response.read(MAX_ANSWER_BYTES + 1)
        if response.will_close or len(text) > MAX_ANSWER_BYTES:
            self._hang_up()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            answer = {}
        return response.status, _retry_after(response.getheader("Retry-After")), answer

    def _read_token(self):
        if not self._token_file:
            return self._token and self._token.strip()
        with open(self._token_file, encoding="utf-8") as file:
            return file.read(MAX_EVENT_BYTES).strip()

    def _hang_up(self):
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _retry_after(value):
    """Seconds, from a number or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        at = email.utils.parsedate_to_datetime(value)
        return max(0.0, at.timestamp() - time.time())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


# ---- one for the process, and beside a manager that is there already

_manager = None
_manager_lock = threading.Lock()


def get_performance_manager():
    """The manager of this process, made at the first call."""
    global _manager
    with _manager_lock:
        if _manager is None:
            _manager = PerformanceManager()
        return _manager


_CALLS = (
    "record_workflow_start",
    "record_agent_turn",
    "record_usage_delta",
    "record_tool_call",
    "record_workflow_end",
)


def wrap(manager, recorder=None):
    """Lets a manager, or its class, tell the exporter of each recording call. Returns it.

    Its methods do what they did, with the same arguments, results and exceptions. What one of them
    calls of itself is part of it and not told twice. Wrapping again does nothing.
    """
    try:
        recorder = recorder or get_performance_manager()
        if manager is PerformanceManager or isinstance(manager, PerformanceManager):
            return manager
    except Exception:  # noqa: BLE001 - the runtime goes on without us
        log.exception("there is no recorder, nothing is wrapped")
        return manager
    for name in _CALLS:
        original = getattr(manager, name, None)
        if not callable(original):
            log.warning("%r has no %s, it is not told", type(manager).__name__, name)
            continue
        if getattr(original, "_mozaiks_metrics", False):
            continue
        try:
            setattr(manager, name, _beside(original, getattr(recorder, name)))
        except (AttributeError, TypeError) as error:
            log.warning("%s cannot be wrapped: %s", name, error)
    return manager


def _beside(original, record):
    """A method that does what `original` does, and records it first."""
    try:
        signature = inspect.signature(original)
    except (TypeError, ValueError):
        signature = None

    def tell(args, kwargs):
        if _inside.get():
            return
        try:
            # By name, because a manager of another version may have another order.
            given = kwargs
            if signature is not None:
                given = {}
                for name, value in signature.bind(*args, **kwargs).arguments.items():
                    kind = signature.parameters[name].kind
                    if kind is inspect.Parameter.VAR_KEYWORD:
                        given.update(value)
                    elif kind is not inspect.Parameter.VAR_POSITIONAL and name != "self":
                        given[name] = value
            record(**given)
        except Exception:  # noqa: BLE001 - nothing of ours reaches the runtime
            log.debug("a call was not recorded", exc_info=True)

    async def awaited(result):
        token = _inside.set(True)
        try:
            return await result
        finally:
            # One that is thrown away unfinished may be closed in another context.
            with contextlib.suppress(ValueError):
                _inside.reset(token)

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def call(*args, **kwargs):
            tell(args, kwargs)
            return await awaited(original(*args, **kwargs))

    else:

        @functools.wraps(original)
        def call(*args, **kwargs):
            tell(args, kwargs)
            token = _inside.set(True)
            try:
                result = original(*args, **kwargs)
            finally:
                _inside.reset(token)
            return awaited(result) if inspect.iscoroutine(result) else result

    call._mozaiks_metrics = True
    return call


# ---- ends and forks


def _close_all():
    for recorder in list(_recorders):
        recorder.close()


_fork_lock = threading.RLock()
_held = []


def _before_fork():
    # The child must not find a lock held by a thread that it does not have.
    _fork_lock.acquire()
    _held[:] = list(_recorders)
    for recorder in _held:
        recorder._lock.acquire()


def _after_fork_in_parent():
    while _held:
        _held.pop()._lock.release()
    _fork_lock.release()


def _after_fork_in_child():
    # What was queued is the parent's to send. So is its connection: only our copy is closed.
    global _manager_lock, _fork_lock
    _manager_lock, _fork_lock = threading.Lock(), threading.RLock()
    while _held:
        recorder = _held.pop()
        recorder._hang_up()
        recorder._fresh()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
