#!/usr/bin/env python3
"""Writes a log as the runtime does: JSON lines through Python's own RotatingFileHandler.

rotating_writer.py FILE LINES MAX_BYTES BACKUPS LINES_PER_SECOND

The first 7 lines introduce the chats. Line n after them is one model call of chat n % 7 with
n % 10 + 1 prompt tokens, and a micro-dollar for each. Ends by saying how many lines it wrote.
"""

import json
import logging
import logging.handlers
import sys
import time


class Line(logging.Formatter):
    def format(self, record):
        n = record.msg
        extra = {
            "taskName": None,
            "chat_id": f"chat-{n % 7}",
            "agent": "Writer",
            "prompt_tokens": n % 10 + 1,
            "completion_tokens": 0,
            "total_tokens": n % 10 + 1,
            "cost": (n % 10 + 1) * 1e-6,
            "duration_sec": 0.5,
            "cached": False,
            "model": "gpt-4o-mini",
        }
        msg, logger = "realtime_usage_delta", "core.observability.realtime_token_logger"
        if n < 7:
            msg, logger = "ag2_runtime_logging_started", "core.observability.ag2.runtime"
            extra = {
                "taskName": None,
                "chat_id": f"chat-{n}",
                "workflow_name": "Desk",
                "app_id": "acme",
                "logger_type": "file",
                "session_id": f"session-{n}",
            }
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return json.dumps(
            {
                "ts": f"{moment}.{int(record.msecs * 1000):06d}+00:00",
                "level": "INFO",
                "logger": logger,
                "msg": msg,
                "mod": "realtime_token_logger",
                "fn": "log_chat_completion",
                "line": n,
                "extra": extra,
            },
            ensure_ascii=False,
        )


def main():
    path, lines, max_bytes, backups, rate = sys.argv[1], *map(int, sys.argv[2:])
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8"
    )
    handler.setFormatter(Line())
    logger = logging.getLogger("writer")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    start = time.monotonic()
    for n in range(lines):
        logger.info(n)
        ahead = n / rate - (time.monotonic() - start)
        if ahead > 0:
            time.sleep(ahead)
    handler.close()
    print(lines)


if __name__ == "__main__":
    main()
