"""Breaks the rules on purpose, one place at a time, and wants a test to fail each time.

Without arguments: those that are listed below, which takes some minutes. `--all`: besides, each
threshold, each `for` and each severity. `--quick`: a few that are fast, as in tests/run. Names of
files (`slo`, `cost`) restrict it to those. Needs promtool alone.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ALERTS = pathlib.Path(__file__).resolve().parent.parent

# Which tests look at a file of rules; the quick ones first.
TESTS = {
    "service": ["service", "probes", "availability"],
    "chats": ["unanswered", "latency", "errors", "chats"],
    "cost": ["runaway", "chat-cost", "budget", "cost"],
    "slo": ["sli", "slo", "slo-tickets", "slo-budget", "availability"],
    "exporter": ["exporter", "exporter-day"],
    "meta": ["meta"],
}

# A file, what stands there, what is put in its place. The text must be there exactly once.
# These few are caught by the first test that looks.
QUICK = [
    ("service", "            unless on (job, instance) mozaiks_active_chats\n", ""),
    ("chats", "            unless on (job, chat_id) mozaiks_chat_agent_turns_total > 0\n", ""),
    ("chats", "          and on (job) (mozaiks_workflow_agent_turns_total > 0 or mozaiks_chat_agent_turns_total > 0)\n", ""),
    ("cost", 'increase(mozaiks_chat_cost_usd_total{chat_id!="_other"}[10m])', "increase(mozaiks_chat_cost_usd_total[10m])"),
    ("meta", "          or on (job, instance)\n          max by (job, instance) (prometheus_notifications_alertmanagers_discovered) < 1\n", ""),
    ("meta", "            + increase(prometheus_rule_group_iterations_missed_total[5m])\n", ""),
]
# And these are dropped sums, dropped guards, other thresholds, other windows.
BY_HAND = [
    *QUICK,
    ("service", "expr: max by (job, instance) (up{", "expr: max by (job) (up{"),
    ("service", "            min by (job, instance) (mozaiks_up)\n            or\n", ""),
    ("service", "          or\n          job:up:absent\n", ""),
    ("service", "            unless on (job, instance) mozaiks_up == 0\n", ""),
    ("service", "            unless on (job, instance, runtime) mozaiks_up == 0\n", ""),
    ("service", "          or on (job, instance)\n          (\n            time()", "          or\n          (\n            time()"),
    ("service", 'probe_success{job="mozaiksai-probe"}', "probe_success"),
    ("chats", "expr: sum by (job) (mozaiks_active_chats)", "expr: max by (job) (mozaiks_active_chats)"),
    ("chats", "sum by (job) (increase(mozaiks_workflow_errors_total[5m]))", "max by (job) (increase(mozaiks_workflow_errors_total[5m]))"),
    ("chats", "sum by (job) (increase(mozaiks_workflow_agent_turns_total[5m]))", "max by (job) (increase(mozaiks_workflow_agent_turns_total[5m]))"),
    ("chats", "          or\n          sum by (job) (increase(mozaiks_chat_errors_total[5m]))\n", ""),
    ("chats", "job:mozaiks_agent_turns:increase5m > 0), 1)", "job:mozaiks_agent_turns:increase5m), 1)"),
    ("chats", "clamp_max(job:mozaiks_errors:increase5m", "clamp_max(3 * job:mozaiks_errors:increase5m"),
    ("chats", "          and on (job)\n          job:mozaiks_agent_turns:increase5m >= scalar(global:mozaiks_errors_per_turn:min_turns)\n", ""),
    ("chats", "          and on (job, chat_id) increase(mozaiks_chat_agent_turns_total[5m]) > 0\n", ""),
    ("chats", "max_over_time(mozaiks_chat_last_update_time[2m])", "mozaiks_chat_last_update_time"),
    ("chats", "time() - max by (job, chat_id, app_id, workflow_name) (", "time() - min by (job, chat_id, app_id, workflow_name) ("),
    ("chats", "max by (job, chat_id) (mozaiks_chat_runtime_seconds)", "mozaiks_chat_runtime_seconds"),
    ("cost", "            increase(mozaiks_chat_cost_usd_total[1h]) > 0\n            or\n", ""),
    ("cost", "            or\n            changes(mozaiks_chat_last_update_time[1h]) > 0\n", ""),
    ("cost", "          sum by (job) (increase(mozaiks_workflow_cost_usd_total[24h]))\n", "          max by (job) (increase(mozaiks_workflow_cost_usd_total[24h]))\n"),
    ("cost", "          or\n          job:mozaiks_chat_cost_usd:increase24h\n", ""),
    ("cost", "[1h] offset 24h", "[1m] offset 24h"),
    ("cost", "          24 * (", "          20 * ("),
    ("cost", "          and on (job)\n          job:mozaiks_cost_usd:increase24h > 0.5", "          and on (job)\n          job:mozaiks_cost_usd:increase24h > 0.0"),
    ("cost", "          job:mozaiks_cost_usd:projected24h > scalar(global:mozaiks_cost_usd:budget24h)\n          and on (job)\n", ""),
    ("cost", "          and\n          job_app_workflow:mozaiks_unpriced_tokens:increase1h > scalar(global:mozaiks_unpriced_tokens:min_tokens)\n", ""),
    ("slo", 'agent_turn_duration_seconds_bucket{le=~"5([.]0)?"}', 'agent_turn_duration_seconds_bucket{le="5"}'),
    ("slo", "          job:mozaiks_errors:increase2m < job:mozaiks_agent_turns:increase2m\n          or\n", ""),
    ("slo", "          or\n          job:mozaiks_agent_turns:increase2m and job:mozaiks_errors:increase2m\n", ""),
    ("slo", "expr: job:mozaiks_unavailable:ratio * 120", "expr: job:mozaiks_unavailable:ratio * 60"),
    ("slo", "          and on (job, chat_id) increase(mozaiks_chat_agent_turns_total[2m]) > 0\n", ""),
    ("slo", "job_slo:mozaiks_slo_burn:rate1h > 14.4", "job_slo:mozaiks_slo_burn:rate1h > 14.1"),
    ("slo", "job_slo:mozaiks_slo_burn:rate1h > 14.4", "job_slo:mozaiks_slo_burn:rate1h > 14.6"),
    ("slo", "            and job_slo:mozaiks_slo_burn:rate5m > 14.4\n", ""),
    ("slo", "            and job_slo:mozaiks_slo:believed1h\n", ""),
    ("slo", "job_slo:mozaiks_slo_burn:rate6h > 6", "job_slo:mozaiks_slo_burn:rate6h > 5.8"),
    ("slo", "job_slo:mozaiks_slo_burn:rate6h > 6", "job_slo:mozaiks_slo_burn:rate6h > 6.2"),
    ("slo", "            and job_slo:mozaiks_slo_burn:rate30m > 6\n", ""),
    ("slo", "            and job_slo:mozaiks_slo:believed6h\n", ""),
    ("slo", "job_slo:mozaiks_slo_burn:rate1d > 3", "job_slo:mozaiks_slo_burn:rate1d > 2.8"),
    ("slo", "job_slo:mozaiks_slo_burn:rate1d > 3", "job_slo:mozaiks_slo_burn:rate1d > 3.2"),
    ("slo", "            and job_slo:mozaiks_slo_burn:rate2h > 3\n", ""),
    ("slo", "            and job_slo:mozaiks_slo:believed1d\n", ""),
    ("slo", "job_slo:mozaiks_slo_burn:rate3d > 1", "job_slo:mozaiks_slo_burn:rate3d > 0.8"),
    ("slo", "job_slo:mozaiks_slo_burn:rate3d > 1", "job_slo:mozaiks_slo_burn:rate3d > 1.2"),
    ("slo", "            and job_slo:mozaiks_slo_burn:rate6h > 1\n", ""),
    ("slo", "            and job_slo:mozaiks_slo:believed3d\n", ""),
    ("slo", "          and present_over_time(job_slo:mozaiks_sli_all:increase2m[15d] offset 15d)\n", ""),
    ("slo", "          and avg_over_time(job_slo:mozaiks_sli_all:increase2m[30d]) * 21600 >= scalar(global:mozaiks_slo:min_events)\n", ""),
    ("exporter", "          clamp_max(\n            sum by (job, instance, runtime) (increase(mozaiks_exporter_poll_failures_total", "          (\n            sum by (job, instance, runtime) (increase(mozaiks_exporter_poll_failures_total"),
    ("exporter", "min_over_time(mozaiks_exporter_events_pending[2m])", "mozaiks_exporter_events_pending"),
    ("exporter", "          unless on (job, instance) mozaiks_exporter_state_damaged_total offset 1d > 0\n", ""),
    ("exporter", "          and on (job, instance) mozaiks_exporter_build_info\n", ""),
    ("exporter", "result=~\"unreadable|flawed|too_long\"", "result!=\"event\""),
    ("exporter", "\n              >= scalar(global:mozaiks_lines_unparsed:min_lines)", " > 0"),
    ("exporter", "increase(mozaiks_exporter_series_folded_total[1h])", "mozaiks_exporter_series_folded_total"),
    ("meta", "sum by (job, instance, integration) (", "sum by (job, instance) ("),
]


def by_rule():
    """Each threshold too high and too low, each `for` gone, each severity another."""
    for name in TESTS:
        text = rules(name)
        for found in re.finditer(r"expr: vector\(([\d.]+)\)$", text, re.M):
            for factor in (0.5, 1.5):
                yield name, found.span(), f"expr: vector({float(found[1]) * factor:g})"
        for found in re.finditer(r"^ +for: \w+\n", text, re.M):
            yield name, found.span(), ""
        for found in re.finditer(r"severity: (critical|warning|info|none)", text):
            yield name, found.span(), "severity: other"


def by_hand(places):
    for name, old, new in places:
        text = rules(name)
        if text.count(old) != 1:
            sys.exit(f"mutate.py is older than the rules: in {name} this stands {text.count(old)} times: {old!r}")
        start = text.index(old)
        yield name, (start, start + len(old)), new


def rules(name):
    return (ALERTS / f"{name}.rules.yml").read_text()


def survives(mutation):
    """The mutation as words, if no test minds."""
    name, (start, end), new = mutation
    text = rules(name)
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, "alerts")
        shutil.copytree(ALERTS, copy, ignore=shutil.ignore_patterns("runbooks"))
        (copy / f"{name}.rules.yml").write_text(text[:start] + new + text[end:])
        for test in TESTS[name]:
            done = subprocess.run(["promtool", "test", "rules", f"{test}.test.yml"], cwd=copy / "tests", capture_output=True)
            if done.returncode:
                return None
    line = text[:start].count("\n") + 1
    return f"{name}.rules.yml:{line}: {text[start:end].strip()!r} -> {new.strip()!r}"


def main():
    if not shutil.which("promtool"):
        sys.exit("promtool is not on PATH; tests/run installs it")
    mutations = list(by_hand(QUICK if "--quick" in sys.argv else BY_HAND))
    if "--all" in sys.argv:
        mutations += by_rule()
    only = [argument for argument in sys.argv[1:] if argument in TESTS]
    mutations = [mutation for mutation in mutations if mutation[0] in (only or TESTS)]
    survivors = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, words in enumerate(pool.map(survives, mutations), 1):
            survivors += [words] if words else []
            if sys.stderr.isatty():
                print(f"\r{number} of {len(mutations)}", end="", file=sys.stderr)
    print(f"{len(mutations)} mutations, {len(mutations) - len(survivors)} caught by a test")
    if survivors:
        sys.exit("no test minds:\n" + "\n".join(survivors))


main()
