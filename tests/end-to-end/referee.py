"""Reads a stream with boto3 and leaves what it got: referee.py ENDPOINT STREAM FOLDER.

Writes get_media.mkv, fragment_list.mkv and one_fragment.mkv into FOLDER, prints the list of fragments as JSON."""

import json
import pathlib
import sys

import boto3

endpoint, stream, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
account = dict(region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
control = boto3.client("kinesisvideo", endpoint_url=endpoint, **account)


def data(service, api):
    url = control.get_data_endpoint(StreamName=stream, APIName=api)["DataEndpoint"]
    return boto3.client(service, endpoint_url=url, **account)


described = control.describe_stream(StreamName=stream)["StreamInfo"]
assert described["Status"] == "ACTIVE" and described["DataRetentionInHours"] >= 1, described

archive = data("kinesis-video-archived-media", "LIST_FRAGMENTS")
always = {"StartTimestamp": 0, "EndTimestamp": 4102444800}  # to the year 2100
selector = {"FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": always}
pages = archive.get_paginator("list_fragments").paginate(StreamName=stream, FragmentSelector=selector)
fragments = sorted((f for page in pages for f in page["Fragments"]), key=lambda f: f["ProducerTimestamp"])
numbers = [f["FragmentNumber"] for f in fragments]

archive = data("kinesis-video-archived-media", "GET_MEDIA_FOR_FRAGMENT_LIST")


def archived(numbers):
    return archive.get_media_for_fragment_list(StreamName=stream, Fragments=numbers)["Payload"].read()


(folder / "fragment_list.mkv").write_bytes(archived(numbers))
(folder / "one_fragment.mkv").write_bytes(archived(numbers[:1]))

live = data("kinesis-video-media", "GET_MEDIA")
payload = live.get_media(StreamName=stream, StartSelector={"StartSelectorType": "EARLIEST"})["Payload"]
(folder / "get_media.mkv").write_bytes(payload.read())

rows = [{"number": f["FragmentNumber"], "producerMs": round(f["ProducerTimestamp"].timestamp() * 1000)} for f in fragments]
print(json.dumps({"fragments": rows}))
