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


def denies(url: str) -> None:
    """A token that is none opens no connection. An authorizer that fails answers 500, one that is missing lets everybody in."""
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    try:
        with connect(f"{url}?token=nonsense"):
            sys.exit("smoke-test: FAILED: the API lets somebody in whose token is none")
    except InvalidStatus as refused:
        status = refused.response.status_code
    except OSError as error:
        sys.exit(f"smoke-test: FAILED: the API cannot be reached: {error}")
    if status not in (401, 403):
        sys.exit(f"smoke-test: FAILED: a token that is none is answered with {status} instead of 403; look into session-authorizer's log")
    print(f"smoke-test: a token that is none is denied ({status})")


def over_the_websocket(lines: list[dict], url: str, token: str) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    try:
        socket = connect(f"{url}?token={token}")
    except InvalidStatus as refused:
        sys.exit(f"smoke-test: FAILED: the token is answered with {refused.response.status_code}; session-authorizer's log says why")
    with socket:
        for line in lines:
            wait_for(line["timestamp"])
            fields = {name: line[name] for name in ("audioData", "timestamp", "format", "chunkIndex")}
            socket.send(json.dumps({"action": "audioChunk"} | fields))
        socket.send(json.dumps({"action": "endStream", "chunkIndex": lines[-1]["chunkIndex"]}))
        try:
            print(f"smoke-test: the API says {socket.recv(timeout=2)}")
        except TimeoutError:
            pass  # no answer is a good answer


def claimed_session(token: str) -> str:
    """The session that a token is for, by its claim of the default name."""
    try:
        claims = token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sessionId"]
    except (IndexError, ValueError, KeyError):
        sys.exit("smoke-test: the token has no claim sessionId; name the session with --session")


class Session:
    """A session of the smoke test's own in the Sessions table, active until it is ended."""

    def __init__(self) -> None:
        self.name = f"smoke-test-{int(time.time())}"
        self.set({"status": {"S": "active"}})

    def end(self) -> None:
        self.set({"status": {"S": "ended"}, "endedAt": {"N": str(int(time.time() * 1000))}})

    def set(self, values: dict) -> None:
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in values)
        update = ["--key", json.dumps({"sessionId": {"S": self.name}}), "--update-expression", expression]
        update += ["--expression-attribute-names", json.dumps({f"#{name}": name for name in values})]
        update += ["--expression-attribute-values", json.dumps({f":{name}": value for name, value in values.items()})]
        aws("dynamodb", "update-item", "--table-name", os.environ["SESSIONS_TABLE"], *update)


def printed_token(command: str, session: str) -> str:
    done = subprocess.run(command, shell=True, env={**os.environ, "SESSION": session}, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0 or not done.stdout.strip():
        sys.exit(f"smoke-test: {command} printed no token")
    return done.stdout.strip()


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


def speak(args: argparse.Namespace, lines: list[dict]) -> tuple[str, Session | None]:
    """Sends the recording; gives the session's name, and the session itself if it is the smoke test's own."""
    if args.token:
        denies(args.url)
        over_the_websocket(lines, args.url, args.token)
        return args.session or claimed_session(args.token), None
    if args.token_command:
        denies(args.url)
    own = Session()
    print(f"smoke-test: session {own.name}, {len(lines)} chunks at real time")
    if args.token_command:
        over_the_websocket(lines, args.url, printed_token(args.token_command, own.name))
    else:
        into_the_queue(lines, own.name)
    return own.name, own


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("--recording", "--out", "--kvsw"):
        parser.add_argument(name, required=True)
    for name in ("--url", "--token", "--token-command", "--session"):
        parser.add_argument(name)
    parser.add_argument("--queue", action="store_true")
    args = parser.parse_args()
    recording, out = Path(args.recording), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    session, own = speak(args, chunks(recording))
    reference = samples(recording / "reference.wav")
    found = read_back(args.kvsw, session, out, len(reference))
    if own:
        own.end()
    ratio = snr_db(found, reference) if found else 0.0
    whole = abs(len(found) - len(reference)) <= 16
    good = whole and ratio >= SNR_DB
    print(f"smoke-test: {'passed' if good else 'FAILED'}: SNR {ratio:.1f} dB against ffmpeg (at least {SNR_DB}), {out / 'audio.wav'}")
    if good and args.queue:
        print("smoke-test: it went past API and authorizer: whether anybody can connect is not known; see --token-command")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
