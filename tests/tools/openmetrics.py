"""Reads OpenMetrics text strictly; prints what it understood as JSON, or fails with a reason."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

text = sys.stdin.buffer.read().decode("utf-8")
families = [
    {
        "name": family.name,
        "type": family.type,
        "unit": family.unit,
        "samples": [
            {"name": sample.name, "labels": sample.labels, "value": repr(float(sample.value))}
            for sample in family.samples
        ],
    }
    for family in text_string_to_metric_families(text)
]
json.dump(families, sys.stdout)
