"""Plays a recording into a deployment and judges what its stream holds; scripts/smoke-test.sh calls it.

Two ways in: the chunk queue (the aws command line), or the WebSocket API with a token, as a browser.
"""

import argparse
import base64
import json
import math
import os
import subprocess
import sys
import time
import wave
from array import array
from pathlib import Path

SETTLE_SECONDS = 60
SNR_DB = 26.0  # what the end-to-end tests ask of another decoder


def aws(*arguments: str) -> dict:
    done = subprocess.run(["bash", "-c", 'aws "$@"', "aws", *arguments, "--output", "json"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"smoke-test: aws {' '.join(arguments[:2])}: {done.stderr.strip()}")
    return json.loads(done.stdout or "{}")


def chunks(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "messages.jsonl").read_text().splitlines()]
    lines.sort(key=lambda line: line["chunkIndex"])
    started, first = time.time() * 1000, lines[0]["timestamp"]
    for line in lines:
        line["timestamp"] = int(started + line["timestamp"] - first)
    return lines


def wait_for(moment_ms: float) -> None:
    time.sleep(max(0.0, moment_ms / 1000 - time.time()))


def into_the_queue(lines: list[dict], session: str) -> None:
    """Ten at a time, when the last of them was spoken."""
    queue = os.environ["QUEUE_URL"]
    for start in range(0, len(lines), 10):
        some = lines[start : start + 10]
        wait_for(some[-1]["timestamp"])
        entries = [
            {
                "Id": str(line["chunkIndex"]),
                "MessageGroupId": session,
                "MessageDeduplicationId": f"{session}-{line['chunkIndex']}",
                "MessageBody": json.dumps(line | {"sessionId": session}),
            }
            for line in some
        ]
        failed = aws("sqs", "send-message-batch", "--queue-url", queue, "--entries", json.dumps(entries)).get("Failed")
        if failed:
            sys.exit(f"smoke-test: the queue refuses {failed}")
    end = {"action": "endStream", "sessionId": session, "timestamp": int(time.time() * 1000), "chunkIndex": lines[-1]["chunkIndex"]}
    body = json.dumps(end)
    aws("sqs", "send-message", "--queue-url", queue, "--message-group-id", session, "--message-deduplication-id", f"{session}-end", "--message-body", body)


def over_the_websocket(lines: list[dict], url: str, token: str) -> None:
    from websockets.sync.client import connect

    with connect(f"{url}?token={token}") as socket:
        for line in lines:
            wait_for(line["timestamp"])
            fields = {name: line[name] for name in ("audioData", "timestamp", "format", "chunkIndex")}
            socket.send(json.dumps({"action": "audioChunk"} | fields))
        socket.send(json.dumps({"action": "endStream", "chunkIndex": lines[-1]["chunkIndex"]}))
        try:
            print(f"smoke-test: the API says {socket.recv(timeout=2)}")
        except TimeoutError:
            pass  # no answer is a good answer


def samples(path: Path) -> array:
    with wave.open(str(path)) as file:
        found = array("h")
        found.frombytes(file.readframes(file.getnframes()))
    return found


def read_back(kvsw: str, session: str, out: Path, wanted: int) -> array:
    audio, until = out / "audio.wav", time.monotonic() + SETTLE_SECONDS
    while True:
        done = subprocess.run([kvsw, "session", "export", session, "--out", str(audio)], capture_output=True, text=True)
        found = samples(audio) if done.returncode in (0, 1) and audio.exists() else array("h")
        if abs(len(found) - wanted) <= 16 or time.monotonic() > until:
            print(f"smoke-test: {len(found) / 16000:.3f} s of {wanted / 16000:.3f} s are in the stream {done.stderr.strip()}")
            return found
        audio.unlink(missing_ok=True)
        time.sleep(2)


def snr_db(found: array, reference: array) -> float:
    pairs = list(zip(found, reference))
    signal = sum(r * r for _, r in pairs) or 1
    noise = sum((f - r) ** 2 for f, r in pairs) or 1
    return 10 * math.log10(signal / noise)


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("--recording", "--out", "--kvsw"):
        parser.add_argument(name, required=True)
    parser.add_argument("--url")
    parser.add_argument("--token")
    args = parser.parse_args()
    recording, out = Path(args.recording), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    lines = chunks(recording)
    if args.token:
        claims = args.token.split(".")[1]
        session = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sessionId"]
        over_the_websocket(lines, args.url, args.token)
    else:
        session = f"smoke-test-{int(time.time())}"
        table, key = os.environ["SESSIONS_TABLE"], {"sessionId": {"S": session}}
        aws("dynamodb", "put-item", "--table-name", table, "--item", json.dumps(key | {"status": {"S": "active"}}))
        print(f"smoke-test: session {session}, {len(lines)} chunks at real time")
        into_the_queue(lines, session)
    reference = samples(recording / "reference.wav")
    found = read_back(args.kvsw, session, out, len(reference))
    if not args.token:
        ended = {"status": {"S": "ended"}, "endedAt": {"N": str(int(time.time() * 1000))}}
        aws("dynamodb", "put-item", "--table-name", table, "--item", json.dumps(key | ended))
    ratio = snr_db(found, reference) if found else 0.0
    whole = abs(len(found) - len(reference)) <= 16
    good = whole and ratio >= SNR_DB
    print(f"smoke-test: {'passed' if good else 'FAILED'}: SNR {ratio:.1f} dB against ffmpeg (at least {SNR_DB}), {out / 'audio.wav'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
