"""Shortens log lines for a person: the metrics' member goes, the rest of a JSON line is shown as words."""

import json
import sys

HIDDEN = {"_aws", "timestamp", "timestampMs", "spans", "target", "fragmentsWritten", "deferrals", "retries", "gapsClosed"}

for line in sys.stdin:
    time, brace, rest = line.rstrip("\n").partition("{")
    try:
        fields = json.loads(brace + rest)
    except ValueError:
        print(line, end="")
        continue
    level, event = fields.pop("level", ""), fields.pop("event", "")
    words = " ".join(f"{name}={value}" for name, value in fields.items() if name not in HIDDEN)
    print(f"{time.strip()} {level:5} {event} {words}")
