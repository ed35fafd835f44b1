"""Follows a log group through the aws command line of either version; scripts/tail-lambda-logs.sh calls it.

usage: tail_log.py GROUP SECONDS-BACK FILTER(or '') ALL(yes or no) FOLLOW(yes or no)
"""

import json
import subprocess
import sys
import time

PAUSE_SECONDS = 3
# Known by its event, or of no use to eyes.
HIDDEN = {"_aws", "stack", "timestamp", "timestampMs", "spans", "target", "fragmentsWritten", "deferrals", "retries", "gapsClosed"}


def events(group: str, since_ms: int, pattern: str) -> list[dict]:
    command = ["logs", "filter-log-events", "--log-group-name", group, "--start-time", str(since_ms), "--output", "json"]
    command += ["--filter-pattern", pattern] if pattern else []
    done = subprocess.run(["bash", "-c", 'aws "$@"', "aws", *command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"tail-lambda-logs: {done.stderr.strip()}")
    return json.loads(done.stdout or "{}").get("events", [])


def words(message: str) -> str:
    """A JSON line without its metrics' member, as words."""
    try:
        fields = json.loads(message)
    except ValueError:
        return message
    if not isinstance(fields, dict):
        return message
    level, event = fields.pop("level", ""), fields.pop("event", "")
    rest = " ".join(f"{name}={value}" for name, value in fields.items() if name not in HIDDEN)
    return f"{level:5} {event} {rest}"


def main() -> None:
    group, back, pattern, whole, follow = sys.argv[1:]
    since, seen = int((time.time() - int(back)) * 1000), set()
    while True:
        for event in events(group, since, pattern):
            name = event.get("eventId") or (event["timestamp"], event["message"])
            if name in seen:
                continue
            seen.add(name)
            since = max(since, event["timestamp"] - 10_000)  # late lines are still found
            message = event["message"].rstrip("\n")
            clock = time.strftime("%H:%M:%S", time.localtime(event["timestamp"] / 1000))
            print(clock, message if whole == "yes" else words(message), flush=True)
        if follow != "yes":
            return
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
