"""Asks an account the questions of docs/aws-facts.md, section 12, and prints each answer.

usage: scripts/verify-account [-h] [--only 1,2,5] [--lambda-role ARN] [--url WSS --token TOKEN --queue-url URL] [--key ARN] --yes

Makes streams and queues named verify-..., and deletes them at the end. Costs some cents and takes about sixteen minutes. Credentials and
Region as for every AWS tool. Without --yes it only lists the questions.

Questions 8 and 11 need a role that Lambda may assume, with the managed policy AWSLambdaSQSQueueExecutionRole. Question 10 needs a
deployment whose event source mapping is disabled meanwhile, its WebSocketUrl, its QueueUrl, and a speaker's token. Question 18 needs
the ARN of a KMS key.

Fragments are those of verify_fragment.mkv, which the writer's own code has rendered (a test of worker/ingest compares them). The
writer's program itself writes to a real account with BACKEND=aws make run.
"""

import argparse
import http.client
import io
import json
import select
import socket
import ssl
import struct
import sys
import time
import uuid
import zipfile
from pathlib import Path
from urllib.parse import urlparse

import boto3
import botocore.config
import botocore.exceptions
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

RUN = uuid.uuid4().hex[:8]
RATE = 16_000


# ---------------------------------------------------------------- Matroska, as the writer writes it
# A fragment of 2 s that the writer rendered; a test of worker/ingest compares it with what the writer renders now.
WRITTEN = (Path(__file__).parent / "verify_fragment.mkv").read_bytes()
SEGMENT, CLUSTER, TAGS = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\x12\x54\xc3\x67"


def element(id_: bytes, content: bytes, size: bytes | None = None) -> bytes:
    return id_ + (size or struct.pack(">Q", len(content) | 1 << 56)) + content


def uint(id_: bytes, value: int) -> bytes:
    return element(id_, value.to_bytes(8, "big"))


def head() -> bytes:
    """The writer's header, Info and Tracks in a Segment of unknown size, so that any number of clusters may follow."""
    segment, media = WRITTEN.index(SEGMENT), WRITTEN.index(b"\x15\x49\xa9\x66")
    return WRITTEN[:segment] + SEGMENT + b"\x01\xff\xff\xff\xff\xff\xff\xff" + WRITTEN[media : WRITTEN.index(TAGS)]


def written(at_ms: int) -> bytes:
    """Byte for byte what the writer would send, had its fragment begun at this time."""
    at = WRITTEN.index(b"\xe7\x88", WRITTEN.index(CLUSTER)) + 2
    return WRITTEN.replace(WRITTEN[at : at + 8], struct.pack(">Q", at_ms))  # the Cluster's time, and in the SegmentUID


def tags(*names: str, targets: bool = False) -> bytes:
    """One Tags element with a SimpleTag for each name; with Targets, as muxers write them."""
    simple = [element(b"\x67\xc8", element(b"\x45\xa3", name.encode()) + element(b"\x44\x87", b"1")) for name in names]
    return element(b"\x12\x54\xc3\x67", element(b"\x73\x73", (element(b"\x63\xc0", b"") if targets else b"") + b"".join(simple)))


def cluster(at_ms: int, seconds: float, blocks: int, known_size: bool = True) -> bytes:
    content, bytes_each = uint(b"\xe7", at_ms), int(RATE * seconds / blocks) * 2
    for i in range(blocks):
        content += element(b"\xa3", b"\x81" + struct.pack(">h", int(1000 * seconds * i / blocks)) + b"\x80" + bytes(bytes_each))
    return element(b"\x1f\x43\xb6\x75", content, None if known_size else b"\x01\xff\xff\xff\xff\xff\xff\xff")


# ---------------------------------------------------------------- PutMedia
class Put:
    """One PutMedia connection; the body goes in pieces, acknowledgements are read at any time."""

    def __init__(self, account: "Account", stream: str, payload: str = "UNSIGNED-PAYLOAD"):
        endpoint = urlparse(account.endpoint(stream, "PUT_MEDIA"))
        headers = {
            "host": endpoint.netloc,
            "x-amzn-stream-name": stream,
            "x-amzn-fragment-timecode-type": "ABSOLUTE",
            "x-amzn-producer-start-timestamp": f"{time.time():.3f}",
            "x-amzn-fragment-acknowledgment-required": "1",
        }
        if payload == "UNSIGNED-PAYLOAD":
            headers["x-amz-content-sha256"] = payload
        request = AWSRequest("POST", f"{endpoint.scheme}://{endpoint.netloc}/putMedia", headers=headers, data=b"")
        signer = SigV4Auth(account.session.get_credentials().get_frozen_credentials(), "kinesisvideo", account.session.region_name)
        if payload == "UNSIGNED-PAYLOAD":
            signer.payload = lambda _: payload
        signer.add_auth(request)
        kind = http.client.HTTPSConnection if endpoint.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(endpoint.hostname, endpoint.port, timeout=35)
        self.connection.putrequest("POST", "/putMedia", skip_host=True, skip_accept_encoding=True)
        for name, value in {**dict(request.headers), "transfer-encoding": "chunked"}.items():
            self.connection.putheader(name, value)
        self.connection.endheaders()
        self.answer, self.socket, self.rest = None, self.connection.sock, b""

    def send(self, piece: bytes) -> "Put":
        self.connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        return self

    def end(self) -> "Put":
        (self.socket or self.connection.sock).sendall(b"0\r\n\r\n")
        return self

    def acks(self, seconds: float):
        """Acknowledgements as they come, until PERSISTED, ERROR, the answer's end or the time."""
        until = time.monotonic() + seconds
        try:
            if self.answer is None:
                self.socket = self.connection.sock  # http.client forgets it with the answer
                self.socket.settimeout(seconds)
                self.answer = self.connection.getresponse()
            if self.answer.status != 200:
                yield {"EventType": "HTTP", "status": self.answer.status, "error": self.answer.headers.get("x-amzn-ErrorType"), "body": self.answer.read().decode()[:200]}
                return
            while True:
                while b"\n" in self.rest:
                    line, self.rest = self.rest.split(b"\n", 1)
                    if line.strip():
                        ack = json.loads(line)
                        yield ack
                        if ack["EventType"] in ("PERSISTED", "ERROR"):
                            return
                if not self.has_come(until - time.monotonic()):
                    return
                piece = self.answer.read1(4096)
                if not piece:
                    return
                self.rest += piece.replace(b"}", b"}\n")
        except (OSError, http.client.HTTPException, ssl.SSLError) as error:
            yield {"EventType": "BROKEN", "error": repr(error)}

    def has_come(self, seconds: float) -> bool:
        """Whether there is something to read within a time. (A read that times out would leave http.client in mid-chunk.)"""
        if self.answer.fp is None:
            return False
        self.socket.settimeout(0)
        held = len(self.answer.fp.peek(1)) > 2 or getattr(self.socket, "pending", int)()  # two: the line end behind the last chunk
        come = bool(held) or bool(select.select([self.socket], [], [], max(0.0, seconds))[0])
        self.socket.settimeout(5)
        return come

    def kill(self, how: str = "close") -> None:
        """Leaves: close, reset, or half-close, which keeps the socket open for reading."""
        if how == "half-close":
            self.socket.shutdown(socket.SHUT_WR)
            return
        if how == "reset":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self.answer is not None:
            self.answer.close()
        self.connection.close()
        self.socket.close()


class Account:
    def __init__(self, args: argparse.Namespace):
        self.args, self.session = args, boto3.Session()
        self.kvs, self.sqs = self.session.client("kinesisvideo"), self.session.client("sqs")
        self.streams: list[str] = []
        self.queues: list[str] = []
        self.endpoints: dict[tuple[str, str], str] = {}  # five calls a second are the quota

    def endpoint(self, stream: str, api: str) -> str:
        if (stream, api) not in self.endpoints:
            self.endpoints[stream, api] = self.kvs.get_data_endpoint(StreamName=stream, APIName=api)["DataEndpoint"]
        return self.endpoints[stream, api]

    def stream(self, what: str, wait: bool = True, **more: str) -> str:
        name = f"verify-{what}-{RUN}"
        self.kvs.create_stream(StreamName=name, DataRetentionInHours=1, MediaType="audio/x-matroska", **more)
        self.streams.append(name)
        while wait and self.status(name) != "ACTIVE":
            time.sleep(0.2)
        return name

    def status(self, name: str) -> str:
        return self.kvs.describe_stream(StreamName=name)["StreamInfo"]["Status"]

    def fragments(self, name: str) -> list[dict]:
        archive = self.session.client("kinesis-video-archived-media", endpoint_url=self.endpoint(name, "LIST_FRAGMENTS"))
        always = {"FragmentSelectorType": "SERVER_TIMESTAMP", "TimestampRange": {"StartTimestamp": 0, "EndTimestamp": 4_102_444_800}}
        return archive.list_fragments(StreamName=name, MaxResults=100, FragmentSelector=always)["Fragments"]

    def media(self, name: str, seconds: float = 8) -> list[bytes]:
        """GetMedia from the earliest fragment on, for a while: what lies between one EBML header and the next."""
        config = botocore.config.Config(read_timeout=seconds, retries={"max_attempts": 0})
        client = self.session.client("kinesis-video-media", endpoint_url=self.endpoint(name, "GET_MEDIA"), config=config)
        payload, whole = client.get_media(StreamName=name, StartSelector={"StartSelectorType": "EARLIEST"})["Payload"], b""
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until and (piece := payload.read(16)):  # a read that times out loses its piece
                whole += piece
        except botocore.exceptions.ReadTimeoutError:
            pass  # a body that stays open for ever
        ebml = b"\x1a\x45\xdf\xa3"
        return [ebml + rest for rest in whole.split(ebml)[1:]]

    def put(self, stream: str, media: bytes, seconds: float = 10) -> list[dict]:
        return list(Put(self, stream).send(head() + media).end().acks(seconds))

    def put_written(self, stream: str, at_ms: int, payload: str = "UNSIGNED-PAYLOAD") -> list[dict]:
        return list(Put(self, stream, payload).send(written(at_ms)).end().acks(10))

    def queue(self, what: str, **attributes: str) -> str:
        fifo = {"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
        url = self.sqs.create_queue(QueueName=f"verify-{what}-{RUN}.fifo", Attributes=fifo | attributes)["QueueUrl"]
        self.queues.append(url)
        return url

    def arn(self, url: str) -> str:
        return self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def send(self, url: str, group: str, body: str) -> None:
        self.sqs.send_message(QueueUrl=url, MessageGroupId=group, MessageDeduplicationId=f"{group}-{body}", MessageBody=body)

    def receive(self, url: str, wait: int = 2) -> list[dict]:
        asked = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, MessageSystemAttributeNames=["All"])
        return asked.get("Messages", [])

    def clean(self) -> None:
        for name in self.streams:
            try:
                self.kvs.delete_stream(StreamARN=self.kvs.describe_stream(StreamName=name)["StreamInfo"]["StreamARN"])
            except ClientError as error:
                print(f"left behind: stream {name}: {error}")
        for url in self.queues:
            self.sqs.delete_queue(QueueUrl=url)


def now_ms() -> int:
    return int(time.time() * 1000)


def last(acks: list[dict]) -> str:
    words = [ack["EventType"] + (f" {ack.get('ErrorId')} {ack.get('ErrorCode')}" if ack["EventType"] == "ERROR" else "") for ack in acks]
    return " ".join(words) if acks and acks[-1]["EventType"] not in ("HTTP", "BROKEN") else f"{' '.join(words)} {acks[-1:] or 'nothing'}"


# ---------------------------------------------------------------- the questions
def shortest_fragment(a: Account):
    "a 0.75 s fragment and a 1.0 s fragment: which ack, which length with 1, 2 and 20 blocks"
    stream = a.stream("short")
    for seconds in (0.75, 1.0):
        for blocks in (1, 2, 20):
            yield f"{seconds} s in {blocks} blocks: {last(a.put(stream, cluster(now_ms() - 5000, seconds, blocks)))}"
            time.sleep(1.1)
    time.sleep(3)
    yield f"lengths: {[f['FragmentLengthInMilliseconds'] for f in a.fragments(stream)]} ms"


def time_to_persisted(a: Account):
    "time from the end of the body to PERSISTED; does RECEIVED come before the body ends for a cluster of unknown size?"
    stream = a.stream("time")
    for known in (True, False):
        put = Put(a, stream).send(head() + cluster(now_ms() - 4000, 2, 20, known))
        early = list(put.acks(2))
        ended = time.monotonic()
        late = list(put.end().acks(15))
        yield f"size {'known' if known else 'unknown'}: before the end {last(early)}; {time.monotonic() - ended:.3f} s after it {last(late)}"
        put.kill()
        time.sleep(1)


def killed_connection(a: Account):
    "a connection is killed in mid-fragment: how long is the next one refused, and does the half fragment show up?"
    stream = a.stream("kill")
    whole = written(now_ms() - 6000)
    put = Put(a, stream).send(whole[: len(whole) // 2])
    time.sleep(1)
    put.kill()
    killed = time.monotonic()
    while time.monotonic() - killed < 60:
        acks = a.put_written(stream, now_ms() - 3000)
        if acks and acks[-1]["EventType"] == "PERSISTED":
            break
        yield f"after {time.monotonic() - killed:.1f} s: {last(acks)}"
        time.sleep(0.5)
    yield f"taken again after {time.monotonic() - killed:.1f} s"
    time.sleep(3)
    yield f"fragments in the stream: {len(a.fragments(stream))} (1: the half one is not there)"


def same_cluster_twice(a: Account):
    "the same cluster sent twice on two connections: two fragments or an error?"
    stream, at = a.stream("twice"), now_ms() - 4000
    yield f"first {last(a.put_written(stream, at))}; second {last(a.put_written(stream, at))}"
    time.sleep(3)
    yield f"ListFragments: {[(f['FragmentNumber'][-6:], str(f['ProducerTimestamp'])) for f in a.fragments(stream)]}"


def odd_timestamps(a: Account):
    "producer timestamps of -10 min, -2 h (past the retention), in 1970, and ahead of the clock: from how many seconds on is it 4007?"
    stream = a.stream("times")
    for words, offset in (("-10 min", -600), ("-2 h", -7200)):
        yield f"{words}: {last(a.put(stream, cluster(now_ms() + offset * 1000, 2, 20)))}"
        time.sleep(1)
    yield f"1970: {last(a.put(stream, cluster(1000, 2, 20)))}"
    for seconds in (1, 2, 5, 10, 15, 20, 30, 45, 60, 300):
        acks = a.put(stream, cluster(now_ms() + seconds * 1000, 2, 20))
        yield f"+{seconds} s: {last(acks)}"
        time.sleep(1)
    time.sleep(3)
    yield f"stored: {[str(f['ProducerTimestamp']) for f in a.fragments(stream)]}"


def new_stream(a: Account):
    "CreateStream to ACTIVE; what is answered meanwhile; delete and make the same name again"
    started = time.monotonic()
    stream = a.stream("new", wait=False)
    try:
        yield f"at once: {a.status(stream)}, PutMedia {last(a.put(stream, cluster(now_ms() - 3000, 2, 20)))}"
    except ClientError as error:
        yield f"at once: {error}"
    while a.status(stream) != "ACTIVE":
        time.sleep(0.1)
    yield f"ACTIVE after {time.monotonic() - started:.2f} s"
    a.kvs.delete_stream(StreamARN=a.kvs.describe_stream(StreamName=stream)["StreamInfo"]["StreamARN"])
    deleted = time.monotonic()
    while time.monotonic() - deleted < 120:
        try:
            a.kvs.create_stream(StreamName=stream, DataRetentionInHours=1)
            yield f"the same name is taken again after {time.monotonic() - deleted:.1f} s"
            return
        except ClientError as error:
            code = error.response["Error"]["Code"]
            time.sleep(0.5)
    yield f"the same name is still refused after two minutes: {code}"


def mixed_visibility(a: Account):
    "three messages of a group, hidden for 0, 2 and 30 s: what comes when?"
    queue = a.queue("visibility")
    for body in "abc":
        a.send(queue, "g", body)
    held = {m["Body"]: m["ReceiptHandle"] for m in a.receive(queue)}
    for body, seconds in zip("abc", (0, 2, 30)):
        a.sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=held[body], VisibilityTimeout=seconds)
    started = time.monotonic()
    while time.monotonic() - started < 40:
        for message in a.receive(queue, 1):
            yield f"after {time.monotonic() - started:.1f} s: {message['Body']}"
            a.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


FAILING = "import json\ndef handler(e, _):\n    print(json.dumps([[r['messageId'], r['attributes']['ApproximateReceiveCount']] for r in e['Records']]))\n    return {'batchItemFailures': [{'itemIdentifier': r['messageId']} for r in e['Records']]}\n"
WORKING = "import json, time\ndef handler(e, _):\n    time.sleep(0.3)\n    print(json.dumps({'records': len(e['Records'])}))\n    return {'batchItemFailures': []}\n"


def with_function(a: Account, what: str, code: str, queue: str):
    """A function behind the queue; yields the lines that it printed for as long as it is asked."""
    if not a.args.lambda_role:
        raise LookupError("needs --lambda-role")
    name, lambda_, logs = f"verify-{what}-{RUN}", a.session.client("lambda"), a.session.client("logs")
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as file:
        file.writestr("index.py", code)
    lambda_.create_function(FunctionName=name, Runtime="python3.13", Role=a.args.lambda_role, Handler="index.handler", Code={"ZipFile": package.getvalue()}, Timeout=10)
    lambda_.get_waiter("function_active_v2").wait(FunctionName=name)
    mapping = lambda_.create_event_source_mapping(FunctionName=name, EventSourceArn=a.arn(queue), BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"])
    try:
        while True:
            try:
                events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
            except ClientError:
                events = []
            yield [(event["timestamp"], event["message"].strip()) for event in events if event["message"].startswith(("[", "{"))]
            time.sleep(5)
    finally:
        lambda_.delete_event_source_mapping(UUID=mapping["UUID"])
        lambda_.delete_function(FunctionName=name)


def redelivery(a: Account):
    "records that are reported as failed, visibility untouched (30 s): when do they come again?"
    queue = a.queue("redelivery", VisibilityTimeout="30")
    a.send(queue, "g", "x")
    for lines in with_function(a, "fail", FAILING, queue):
        if len(lines) >= 3:
            moments = [moment for moment, _ in lines]
            yield f"seconds between deliveries: {[(b - a_) / 1000 for a_, b in zip(moments, moments[1:])]}"
            return


def redriven_attributes(a: Account):
    "what a redrive makes of deduplication id, group, receive count and origin, of self-sent and of moved messages"
    dlq = a.queue("dlq")
    policy = json.dumps({"deadLetterTargetArn": a.arn(dlq), "maxReceiveCount": "1"})
    source = a.queue("source", RedrivePolicy=policy, VisibilityTimeout="1")
    a.send(source, "moved", "m")
    for _ in range(3):
        a.receive(source, 1)
        time.sleep(1.5)
    a.send(dlq, "self-sent", "s")
    shown = ("MessageDeduplicationId", "MessageGroupId", "ApproximateReceiveCount", "DeadLetterQueueSourceArn")
    for message in a.receive(dlq):
        yield f"in the DLQ: {message['Body']} {({k: message['Attributes'].get(k) for k in shown})}"
        a.sqs.change_message_visibility(QueueUrl=dlq, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    a.sqs.start_message_move_task(SourceArn=a.arn(dlq), DestinationArn=a.arn(source))
    time.sleep(10)
    yield f"task: {a.sqs.list_message_move_tasks(SourceArn=a.arn(dlq))['Results'][:1]}"
    for message in a.receive(source):
        yield f"redriven: {message['Body']} {({k: message['Attributes'].get(k) for k in shown})}"


def websocket_order(a: Account):
    "two WebSocket messages 1 ms apart: how often do they arrive in the queue in the other order?"
    if not (a.args.url and a.args.token and a.args.queue_url):
        raise LookupError("needs --url, --token and --queue-url of a deployment whose mapping is disabled")
    from websockets.sync.client import connect

    with connect(f"{a.args.url}?token={a.args.token}") as socket:
        for index in range(100):
            chunk = {"action": "audioChunk", "audioData": "GkXfo59C", "timestamp": now_ms(), "format": "webm-opus", "chunkIndex": index}
            socket.send(json.dumps(chunk))
            time.sleep(0.001 if index % 2 == 0 else 0.5)
    order, idle = [], 0
    while idle < 2:
        messages = a.receive(a.args.queue_url)
        idle = 0 if messages else idle + 1
        for message in messages:
            body = json.loads(message["Body"])
            order.append((int(message["Attributes"]["SequenceNumber"]), body.get("chunkIndex")))
            a.sqs.delete_message(QueueUrl=a.args.queue_url, ReceiptHandle=message["ReceiptHandle"])
    indices = [index for _, index in sorted(order) if index is not None]
    swapped = sum(1 for x, y in zip(indices, indices[1:]) if y < x)
    yield f"{swapped} of 50 pairs came in the other order; {len(indices)} of 100 came"


def ramp_up(a: Account):
    "a mapping with 1,000 active groups from rest: how fast does it get there, how many records an invocation?"
    queue = a.queue("ramp", VisibilityTimeout="60")
    for group in range(1000):
        entries = [{"Id": str(n), "MessageBody": str(n), "MessageGroupId": f"g{group}", "MessageDeduplicationId": f"{group}-{n}"} for n in range(8)]
        a.sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    for lines in with_function(a, "ramp", WORKING, queue):
        records = [json.loads(line)["records"] for _, line in lines]
        if sum(records) >= 8000:
            moments = sorted(moment for moment, _ in lines)
            per_second: dict[int, int] = {}
            for moment in moments:
                per_second[(moment - moments[0]) // 1000] = per_second.get((moment - moments[0]) // 1000, 0) + 1
            yield f"8,000 records in {(moments[-1] - moments[0]) / 1000:.1f} s, {sum(records) / len(records):.1f} an invocation"
            yield f"invocations in each second: {per_second}"
            return


def payload_hash(a: Account):
    "which payload hash does PutMedia take: UNSIGNED-PAYLOAD, or the hash of an empty body?"
    stream = a.stream("hash")
    for payload in ("UNSIGNED-PAYLOAD", "empty"):
        yield f"{payload}: {last(a.put_written(stream, now_ms() - 4000, payload))}"
        time.sleep(1)


def place_of_tags(a: Account):
    "tags before the first of three clusters, with Targets and without, behind each one, and of known size: where are they read back?"
    for known in (False, True):
        stream, at = a.stream(f"tags-{'known' if known else 'open'}"), now_ms() - 20_000
        body = head() + tags("before") + tags("muxer", targets=True)
        for n in range(3):
            body += cluster(at + n * 2000, 2, 20, known) + tags(f"behind{n}")
        put = Put(a, stream).send(body).end()
        acks = [ack for _ in range(3) for ack in put.acks(10)]
        yield f"size {'known' if known else 'unknown'}: {last(acks)}"
        for n, document in enumerate(a.media(stream)):
            words = [b"before", b"muxer", b"behind0", b"behind1", b"behind2", b"\x1f\x43\xb6\x75", b"MILLIS_BEHIND"]
            found = sorted((document.find(word), word.decode("latin-1")) for word in words if word in document)
            yield f"document {n}: {[word if word.isascii() else 'Cluster' for _, word in found]}"
        yield f"sizes: {[f['FragmentSizeInBytes'] for f in a.fragments(stream)]} of {len(head())} + {len(cluster(at, 2, 20, known))} + {len(tags('behind0'))}"


def unusual_elements(a: Account):
    "Void, Cues, a private element, a laced block: which are taken, which are 4006?"
    stream = a.stream("elements")
    void, cues, private = (element(id_, bytes(20)) for id_ in (b"\xec", b"\x1c\x53\xbb\x6b", b"\x4d\xbb"))
    laced = element(b"\xa3", b"\x81\x00\x00\x82" + bytes(640))
    for words, before, behind in (("Void", void, b""), ("Cues", b"", cues), ("private", private, b""), ("lacing", b"", b"")):
        media = cluster(now_ms() - 4000, 2, 20, known_size=words != "lacing") + (laced if words == "lacing" else behind)
        yield f"{words}: {last(list(Put(a, stream).send(head() + before + media).end().acks(10)))}"
        time.sleep(1)


def freed_connection(a: Account):
    "a client closes, resets or closes only its side, in a fragment and after the body; an ERROR: when is the stream free again?"
    stream = a.stream("free")
    for how in ("close", "reset", "half-close"):
        for moment in ("in a fragment", "after the body"):
            whole = written(now_ms() - 6000)
            put = Put(a, stream).send(whole if moment == "after the body" else whole[:-1000])
            if moment == "after the body":
                put.end()
            time.sleep(0.2)
            put.kill(how)
            yield f"{how} {moment}: {taken_again(a, stream)}"
            put.kill()
            time.sleep(0.5)  # five calls a second
    put = Put(a, stream).send(head() + cluster(now_ms() + 3_600_000, 2, 20))
    yield f"{last(list(put.acks(5)))}, body still open: {taken_again(a, stream)}"
    put.kill()


def taken_again(a: Account, stream: str) -> str:
    begun, refused = time.monotonic(), []
    while time.monotonic() - begun < 60:
        acks = a.put_written(stream, now_ms() - 3000)
        if acks and acks[-1]["EventType"] == "PERSISTED":
            return f"taken after {time.monotonic() - begun:.1f} s, {len(refused)} refused {refused[:1]}"
        refused.append(last(acks))
        time.sleep(0.5)
    return f"still refused after a minute: {refused[-1]}"


def too_many_fragments(a: Account):
    "twenty fragments of 1 s at once on one connection, where five a second are the quota: refused, delayed or taken?"
    stream, at = a.stream("many"), now_ms() - 60_000
    put = Put(a, stream).send(head() + b"".join(cluster(at + n * 1000, 1, 10) for n in range(20))).end()
    begun, seen = time.monotonic(), []
    for _ in range(20):
        seen += [(ack["EventType"], round(time.monotonic() - begun, 1)) for ack in put.acks(15)]
    persisted = [moment for event, moment in seen if event == "PERSISTED"]
    yield f"{len(persisted)} PERSISTED, after {persisted[:1]} to {persisted[-1:]} s; {[event for event, _ in seen if event == 'ERROR']}"


def lost_answer(a: Account):
    "the whole fragment is sent and the connection breaks before any acknowledgement: how late does ListFragments show it, if ever?"
    stream = a.stream("lost")
    for moment in ("body ended", "last byte sent, body open"):
        for _ in range(3):
            at = now_ms() - 4000
            put = Put(a, stream).send(written(at))
            if moment == "body ended":
                put.end()
            put.kill()
            begun = time.monotonic()
            while time.monotonic() - begun < 60 and not any(at <= f["ProducerTimestamp"].timestamp() * 1000 < at + 2 for f in a.fragments(stream)):
                time.sleep(0.3)
            took = time.monotonic() - begun
            yield f"{moment}: {f'listed after {took:.1f} s' if took < 60 else 'not listed within a minute'}"
            time.sleep(2)


def own_key(a: Account):
    "a stream under a key of your own (--key): can these credentials create it, write to it and read it back?"
    if not a.args.key:
        raise LookupError("needs --key")
    stream = a.stream("key", KmsKeyId=a.args.key)
    yield f"written: {last(a.put_written(stream, now_ms() - 4000))}"
    yield f"read back: {len(a.media(stream))} fragments"


def own_bytes(a: Account):
    "the very bytes that the writer sends: taken, listed how soon and at what time and length, read back with their sound and tags?"
    stream, persisted, listed = a.stream("own"), [], []
    for _ in range(10):
        at, begun = now_ms() - 3000, time.monotonic()
        acks = last(a.put_written(stream, at))
        persisted.append(round(time.monotonic() - begun, 2))
        while time.monotonic() - begun < 30 and not any(abs(f["ProducerTimestamp"].timestamp() * 1000 - at) < 2 for f in a.fragments(stream)):
            time.sleep(0.3)
        listed.append(round(time.monotonic() - begun, 2))
        time.sleep(max(0.0, 2 - listed[-1]))
    yield f"{len(WRITTEN)} bytes: {acks}; PERSISTED after {min(persisted)} to {max(persisted)} s, listed after {min(listed)} to {max(listed)} s"
    for found in [f for f in a.fragments(stream) if abs(f["ProducerTimestamp"].timestamp() * 1000 - at) < 100]:
        off = found["ProducerTimestamp"].timestamp() * 1000 - at
        yield f"listed {off:+.0f} ms off its time, {found['FragmentLengthInMilliseconds']} ms long (1900 to 2000), {found['FragmentSizeInBytes']} bytes"
    for document in a.media(stream)[-1:]:
        yield f"GetMedia gives its Cluster {'byte for byte' if written(at)[WRITTEN.index(CLUSTER):] in document else 'changed'}"
        tags = [tag.decode() for tag in (b"sessionId", b"line", b"chunkFirst", b"chunkLast", b"samples") if tag not in document]
        yield f"tags {f'missing: {tags}' if tags else 'all there'}"


QUESTIONS = [
    shortest_fragment, time_to_persisted, killed_connection, same_cluster_twice, odd_timestamps, new_stream,
    mixed_visibility, redelivery, redriven_attributes, websocket_order, ramp_up, payload_hash,
    place_of_tags, unusual_elements, freed_connection, too_many_fragments,
    lost_answer, own_key, own_bytes,
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    parser.add_argument("--only", default="", help="numbers of questions, with commas")
    for name in ("--lambda-role", "--url", "--token", "--queue-url", "--key"):
        parser.add_argument(name)
    parser.add_argument("--yes", action="store_true", help="ask them")
    args = parser.parse_args()
    chosen = [int(n) for n in args.only.split(",") if n] or list(range(1, len(QUESTIONS) + 1))
    account, unanswered = Account(args) if args.yes else None, 0
    try:
        for number in chosen:
            question = QUESTIONS[number - 1]
            print(f"{number:2}. {question.__doc__}", flush=True)
            if account is None:
                continue
            try:
                for answer in question(account):
                    print(f"      {answer}", flush=True)
            except (ClientError, LookupError, OSError) as error:
                unanswered += 1
                print(f"      not answered: {error}", flush=True)
    finally:
        if account is not None:
            account.clean()
    if account is None:
        print("nothing was asked; with --yes they are")
    return 1 if unanswered else 0


if __name__ == "__main__":
    sys.exit(main())
