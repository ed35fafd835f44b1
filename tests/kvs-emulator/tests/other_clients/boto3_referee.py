"""Uses the emulator as an AWS customer would: the real boto3, and PutMedia signed by botocore.

Usage: boto3_referee.py ENDPOINT ACCESS_KEY SECRET_KEY FOLDER

Needs ffprobe, ffmpeg and mkvinfo. Ends with 0 if all is as it should be; an assertion says what is not.
"""

import datetime
import http.client
import json
import math
import pathlib
import struct
import subprocess
import sys
import time
import urllib.parse

import boto3
import botocore.exceptions
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION = "us-east-1"
RATE_HZ = 16_000
BLOCK_MS = 100
BLOCKS = 20


# A Matroska writer of its own, so that the emulator's reader is not judged by the emulator's writer.


def element(identifier, payload):
    return bytes.fromhex(identifier) + struct.pack(">Q", (1 << 56) | len(payload)) + payload


def uint(identifier, value):
    return element(identifier, struct.pack(">Q", value))


def mkv_header():
    ebml = [uint("4286", 1), uint("42F7", 1), uint("42F2", 4), uint("42F3", 8)]
    ebml += [element("4282", b"matroska"), uint("4287", 2), uint("4285", 2)]
    info = uint("2AD7B1", 1_000_000) + element("4D80", b"referee") + element("5741", b"referee")
    audio = element("B5", struct.pack(">d", RATE_HZ)) + uint("9F", 1) + uint("6264", 16)
    entry = uint("D7", 1) + uint("73C5", 4711) + uint("83", 2) + element("536E", b"AUDIO_FROM_CUSTOMER")
    entry += element("86", b"A_PCM/INT/LIT") + element("E1", audio)
    unknown_size = bytes.fromhex("01FFFFFFFFFFFFFF")
    segment = bytes.fromhex("18538067") + unknown_size
    return element("1A45DFA3", b"".join(ebml)) + segment + element("1549A966", info) + element("1654AE6B", element("AE", entry))


def mkv_tags(pairs):
    tags = [element("7373", element("67C8", element("45A3", k.encode()) + element("4487", v.encode()))) for k, v in pairs]
    return element("1254C367", b"".join(tags))


def mkv_cluster(timestamp_ms, pcm):
    out = bytes.fromhex("1F43B67501FFFFFFFFFFFFFF") + uint("E7", timestamp_ms) + uint("A7", 0)
    size = RATE_HZ * BLOCK_MS // 1000 * 2
    for number, at in enumerate(range(0, len(pcm), size)):
        out += element("A3", b"\x81" + struct.pack(">h", number * BLOCK_MS) + b"\x80" + pcm[at : at + size])
    return out


def tone(first_sample, count):
    samples = (int(9000 * math.sin(i * 0.07) + 3000 * math.sin(i * 0.311)) for i in range(first_sample, first_sample + count))
    return struct.pack(f"<{count}h", *samples)


# PutMedia, which boto3 does not have.


def put_media(endpoint, credentials, stream, body, unsigned_payload):
    url = urllib.parse.urlparse(endpoint)
    headers = {
        "x-amzn-stream-name": stream,
        "x-amzn-fragment-timecode-type": "ABSOLUTE",
        "x-amzn-producer-start-timestamp": f"{time.time():.3f}",
        "x-amzn-fragment-acknowledgment-required": "1",
    }
    if unsigned_payload:
        headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    request = AWSRequest(method="POST", url=f"{endpoint}/putMedia", headers=headers, data=b"")
    SigV4Auth(credentials, "kinesisvideo", REGION).add_auth(request)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    pieces = (body[at : at + 1000] for at in range(0, len(body), 1000))
    connection.request("POST", "/putMedia", body=pieces, headers=dict(request.headers), encode_chunked=True)
    response = connection.getresponse()
    text = response.read().decode()
    assert response.status == 200, f"PutMedia: {response.status} {text}"
    return [json.loads(line) for line in text.splitlines()]


# Looking at what came back.


def run(*command):
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} failed: {done.stderr.decode()}"
    return done


def documents(media):
    """What lies between one EBML header and the next: the service gives each fragment as a document of its own."""
    ebml = bytes.fromhex("1A45DFA3")
    return [ebml + rest for rest in media.split(ebml)[1:]]


def check_file(path, pcm, what):
    probe = run("ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path))
    assert probe.stderr == b"", f"{what}: ffprobe complains: {probe.stderr.decode()}"
    streams = json.loads(probe.stdout)["streams"]
    assert len(streams) == 1, f"{what}: {len(streams)} tracks"
    found = {key: str(streams[0][key]) for key in ("codec_name", "sample_rate", "channels")}
    assert found == {"codec_name": "pcm_s16le", "sample_rate": "16000", "channels": "1"}, f"{what}: {found}"
    decoded = run("ffmpeg", "-v", "error", "-i", str(path), "-f", "s16le", "-c:a", "copy", "-").stdout
    assert decoded == pcm, f"{what}: ffmpeg reads {len(decoded)} bytes of PCM that are not the {len(pcm)} sent"
    info = run("mkvinfo", str(path)).stdout.decode()
    assert "A_PCM/INT/LIT" in info and "AWS_KINESISVIDEO_FRAGMENT_NUMBER" in info, f"{what}: mkvinfo says {info}"


def refused(error_type, call, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        assert code == error_type, f"{arguments}: {code}, not {error_type}"
        assert error.response["Error"]["Message"], f"{arguments}: no message"
        return
    raise AssertionError(f"{arguments}: not refused")


def playback_is_refused(archive, video, first, last):
    """HLS, DASH, clips and images answer PCM as the service does, each with its own type."""
    span = {"StartTimestamp": first, "EndTimestamp": last}
    selector = {"FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": span}
    unsupported = "UnsupportedStreamMediaTypeException"
    refused(unsupported, archive.get_clip, StreamName="session-1", ClipFragmentSelector=selector)
    mode = {"PlaybackMode": "ON_DEMAND"}
    refused(unsupported, archive.get_hls_streaming_session_url, StreamName="session-1", HLSFragmentSelector=selector, **mode)
    refused(unsupported, archive.get_dash_streaming_session_url, StreamName="session-1", DASHFragmentSelector=selector, **mode)
    images = {"ImageSelectorType": "PRODUCER_TIMESTAMP", "Format": "PNG", "SamplingInterval": 1000, **span}
    refused("InvalidArgumentException", archive.get_images, StreamName="session-1", **images)
    video.create_stream(StreamName="unretained")
    refused("NoDataRetentionException", archive.get_clip, StreamName="unretained", ClipFragmentSelector=selector)


def changes(video, arn):
    """Every call that changes a stream, each for the version that the one before left."""

    def version():
        return {"StreamARN": arn, "CurrentVersion": video.describe_stream(StreamARN=arn)["StreamInfo"]["Version"]}

    first = version()
    video.update_stream(**first, DeviceName="laptop", MediaType="audio/x-matroska")
    refused("VersionMismatchException", video.update_stream, **first, DeviceName="phone")
    info = video.describe_stream(StreamARN=arn)["StreamInfo"]
    assert (info["DeviceName"], info["MediaType"]) == ("laptop", "audio/x-matroska"), info
    time.sleep(1)  # five calls a second
    video.update_data_retention(**version(), Operation="INCREASE_DATA_RETENTION", DataRetentionChangeInHours=2)
    video.update_data_retention(**version(), Operation="DECREASE_DATA_RETENTION", DataRetentionChangeInHours=1)
    assert video.describe_stream(StreamARN=arn)["StreamInfo"]["DataRetentionInHours"] == 2
    tier = {"DefaultStorageTier": "WARM"}
    video.update_stream_storage_configuration(**version(), StreamStorageConfiguration=tier)
    assert video.describe_stream_storage_configuration(StreamARN=arn)["StreamStorageConfiguration"] == tier
    video.tag_stream(StreamARN=arn, Tags={"c": "d"})
    video.untag_stream(StreamARN=arn, TagKeyList=["a"])
    assert video.list_tags_for_stream(StreamARN=arn)["Tags"] == {"c": "d"}
    refused("InvalidResourceFormatException", video.tag_stream, StreamARN="arn:aws:kinesisvideo:x:1:channel/x/1", Tags={"c": "d"})
    pages = video.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 1})
    assert [info["StreamName"] for page in pages for info in page["StreamInfoList"]] == ["session-1", "unretained"]


def reads(media, found, moment, times, sounds):
    """Every StartSelector begins where it says."""
    numbers = [fragment["FragmentNumber"] for fragment in found]
    selectors = [
        ({"StartSelectorType": "NOW"}, 2),
        ({"StartSelectorType": "CONTINUATION_TOKEN", "ContinuationToken": numbers[0]}, 1),
        ({"StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": moment(times[1] + 500)}, 1),
        ({"StartSelectorType": "SERVER_TIMESTAMP", "StartTimestamp": found[2]["ServerTimestamp"]}, 2),
    ]
    time.sleep(1)  # five calls a second
    for selector, first in selectors:
        payload = media.get_media(StreamName="session-1", StartSelector=selector)["Payload"].read()
        given = [index for index, sound in enumerate(sounds) if sound[:3200] in payload]
        assert given == list(range(first, 3)), f"{selector} gave the fragments {given}"


def main(endpoint, access_key, secret_key, folder):
    folder = pathlib.Path(folder)
    keys = {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key, "region_name": REGION}

    def client(service, url):
        config = botocore.config.Config(retries={"max_attempts": 0})
        return boto3.client(service, endpoint_url=url, config=config, **keys)

    video = client("kinesisvideo", endpoint)
    arn = video.create_stream(StreamName="session-1", DataRetentionInHours=1, MediaType="audio/l16", Tags={"a": "b"})["StreamARN"]
    refused("ResourceInUseException", video.create_stream, StreamName="session-1")
    refused("ResourceNotFoundException", video.describe_stream, StreamName="none")
    stream = video.describe_stream(StreamName="session-1")["StreamInfo"]
    shown = {key: stream[key] for key in ("StreamARN", "Status", "DataRetentionInHours", "MediaType")}
    assert shown == {"StreamARN": arn, "Status": "ACTIVE", "DataRetentionInHours": 1, "MediaType": "audio/l16"}, stream
    assert isinstance(stream["CreationTime"], datetime.datetime), stream
    assert video.list_tags_for_stream(StreamName="session-1")["Tags"] == {"a": "b"}
    condition = {"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "session-"}
    listed = video.list_streams(StreamNameCondition=condition)["StreamInfoList"]
    assert [info["StreamName"] for info in listed] == ["session-1"], listed

    def data_endpoint(api):
        return video.get_data_endpoint(StreamName="session-1", APIName=api)["DataEndpoint"]

    count = RATE_HZ * BLOCK_MS // 1000 * BLOCKS
    start_ms = int(time.time() * 1000) - 60_000
    sounds = [tone(i * count, count) for i in range(3)]
    times = [start_ms + i * BLOCKS * BLOCK_MS for i in range(3)]
    credentials = Credentials(access_key, secret_key)
    put_endpoint = data_endpoint("PUT_MEDIA")
    two = mkv_header() + mkv_tags([("firstChunk", "0")])
    two += mkv_cluster(times[0], sounds[0]) + mkv_cluster(times[1], sounds[1])
    acks = put_media(put_endpoint, credentials, "session-1", two, unsigned_payload=False)
    kinds = [(ack["EventType"], ack["FragmentTimecode"]) for ack in acks]
    assert sorted(kinds) == sorted((kind, ms) for kind in ("BUFFERING", "RECEIVED", "PERSISTED") for ms in times[:2]), kinds
    acks = put_media(put_endpoint, credentials, "session-1", mkv_header() + mkv_cluster(times[2], sounds[2]), unsigned_payload=True)
    assert acks[-1]["EventType"] == "PERSISTED", acks

    archive = client("kinesis-video-archived-media", data_endpoint("LIST_FRAGMENTS"))

    def moment(ms):
        return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)

    def fragments(first_ms, last_ms):
        span = {"StartTimestamp": moment(first_ms), "EndTimestamp": moment(last_ms)}
        selector = {"FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": span}
        pages = archive.get_paginator("list_fragments").paginate(
            StreamName="session-1", FragmentSelector=selector, PaginationConfig={"PageSize": 2}
        )
        return [fragment for page in pages for fragment in page["Fragments"]]

    found = fragments(times[0], times[2])
    assert [fragment["ProducerTimestamp"] for fragment in found] == [moment(ms) for ms in times], found
    assert all(fragment["FragmentLengthInMilliseconds"] == 1900 for fragment in found), found
    exact = fragments(times[1], times[1])
    assert [fragment["FragmentNumber"] for fragment in exact] == [found[1]["FragmentNumber"]], exact
    assert fragments(times[0] + 1, times[1] - 1) == []

    media = client("kinesis-video-media", data_endpoint("GET_MEDIA"))
    answer = media.get_media(StreamName="session-1", StartSelector={"StartSelectorType": "EARLIEST"})
    everything = answer["Payload"].read()
    (folder / "all.mkv").write_bytes(everything)
    files = documents(everything)
    assert len(files) == 3, f"GetMedia gave {len(files)} documents for three fragments"
    for index, (file, sound) in enumerate(zip(files, sounds)):
        (folder / f"{index}.mkv").write_bytes(file)
        check_file(folder / f"{index}.mkv", sound, f"GetMedia, fragment {index}")
    after = {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": found[1]["FragmentNumber"]}
    last = media.get_media(StreamARN=arn, StartSelector=after)["Payload"].read()
    assert sounds[2][:3200] in last and sounds[1][:3200] not in last

    numbers = [found[0]["FragmentNumber"], found[1]["FragmentNumber"]]
    listed = archive.get_media_for_fragment_list(StreamName="session-1", Fragments=numbers)
    for file, sound in zip(documents(listed["Payload"].read()), sounds[:2], strict=True):
        (folder / "list.mkv").write_bytes(file)
        check_file(folder / "list.mkv", sound, "GetMediaForFragmentList")
    refused("InvalidArgumentException", media.get_media, StreamName="session-1", StartSelector={"StartSelectorType": "PRODUCER_TIMESTAMP"})

    playback_is_refused(archive, video, moment(times[0]), moment(times[2] + 2000))
    changes(video, arn)
    reads(media, found, moment, times, sounds)
    video.delete_stream(StreamARN=arn)
    refused("ResourceNotFoundException", video.describe_stream, StreamName="session-1")
    stranger = boto3.client(
        "kinesisvideo", endpoint_url=endpoint, region_name=REGION, aws_access_key_id=access_key, aws_secret_access_key="wrong"
    )
    refused("InvalidSignatureException", stranger.list_streams)
    print("boto3 referee: all as it should be")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
