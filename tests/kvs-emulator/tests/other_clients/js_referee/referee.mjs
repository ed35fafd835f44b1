// Uses the emulator as an AWS customer would: the AWS SDK for JavaScript, every control and read call.
//
// Usage: node referee.mjs ENDPOINT ACCESS_KEY SECRET_KEY
//
// The streams "session-js" (three fragments of PCM, put beforehand) and "session-empty" must exist. Ends with 0 if all is
// as it should be; an assertion says what is not.

import assert from "node:assert/strict";
import {
  CreateStreamCommand,
  DeleteStreamCommand,
  DescribeStreamCommand,
  DescribeStreamStorageConfigurationCommand,
  GetDataEndpointCommand,
  KinesisVideoClient,
  ListStreamsCommand,
  ListTagsForStreamCommand,
  TagStreamCommand,
  UntagStreamCommand,
  UpdateDataRetentionCommand,
  UpdateStreamCommand,
  UpdateStreamStorageConfigurationCommand,
  paginateListStreams,
} from "@aws-sdk/client-kinesis-video";
import {
  GetClipCommand,
  GetDASHStreamingSessionURLCommand,
  GetHLSStreamingSessionURLCommand,
  GetImagesCommand,
  GetMediaForFragmentListCommand,
  KinesisVideoArchivedMediaClient,
  paginateListFragments,
} from "@aws-sdk/client-kinesis-video-archived-media";
import { GetMediaCommand, KinesisVideoMediaClient } from "@aws-sdk/client-kinesis-video-media";

const [endpoint, accessKeyId, secretAccessKey] = process.argv.slice(2);
const options = { region: "us-east-1", credentials: { accessKeyId, secretAccessKey }, maxAttempts: 1 };
const video = new KinesisVideoClient({ ...options, endpoint });
const StreamName = "session-js";

async function refused(name, promise) {
  const error = await promise.then(() => assert.fail(`not refused with ${name}`), (error) => error);
  assert.equal(error.name, name, String(error));
  assert.ok(error.message.length > 0, `${name} has no message`);
  assert.ok(error.$metadata.requestId, `${name} has no request id`);
}

// The control plane.
const created = await video.send(new CreateStreamCommand({ StreamName: "made-by-js", Tags: { a: "1" }, MediaType: "audio/l16" }));
const StreamARN = created.StreamARN;
await refused("ResourceInUseException", video.send(new CreateStreamCommand({ StreamName: "made-by-js" })));
await refused("InvalidArgumentException", video.send(new CreateStreamCommand({ StreamName: "not a name" })));
await refused("ResourceNotFoundException", video.send(new DescribeStreamCommand({ StreamName: "none" })));
const described = async () => (await video.send(new DescribeStreamCommand({ StreamARN }))).StreamInfo;
let stream = await described();
assert.equal(stream.Status, "ACTIVE");
assert.ok(stream.CreationTime instanceof Date && Math.abs(Date.now() - stream.CreationTime) < 60_000);
await video.send(new UpdateStreamCommand({ StreamARN, CurrentVersion: stream.Version, DeviceName: "laptop" }));
stream = await described();
assert.equal(stream.DeviceName, "laptop");
const retention = { StreamARN, Operation: "INCREASE_DATA_RETENTION", DataRetentionChangeInHours: 2 };
await refused("VersionMismatchException", video.send(new UpdateDataRetentionCommand({ ...retention, CurrentVersion: "1" })));
await video.send(new UpdateDataRetentionCommand({ ...retention, CurrentVersion: stream.Version }));
stream = await described();
assert.equal(stream.DataRetentionInHours, 2);
const StreamStorageConfiguration = { DefaultStorageTier: "WARM" };
await video.send(new UpdateStreamStorageConfigurationCommand({ StreamARN, CurrentVersion: stream.Version, StreamStorageConfiguration }));
const storage = await video.send(new DescribeStreamStorageConfigurationCommand({ StreamARN }));
assert.deepEqual(storage.StreamStorageConfiguration, StreamStorageConfiguration);
await video.send(new TagStreamCommand({ StreamARN, Tags: { b: "2" } }));
await video.send(new UntagStreamCommand({ StreamARN, TagKeyList: ["a"] }));
assert.deepEqual((await video.send(new ListTagsForStreamCommand({ StreamARN }))).Tags, { b: "2" });
const names = [];
for await (const page of paginateListStreams({ client: video, pageSize: 1 }, {})) {
  names.push(...page.StreamInfoList.map((info) => info.StreamName));
}
assert.deepEqual(names, ["made-by-js", "session-empty", "session-js"]);
const StreamNameCondition = { ComparisonOperator: "BEGINS_WITH", ComparisonValue: "made-" };
assert.equal((await video.send(new ListStreamsCommand({ StreamNameCondition }))).StreamInfoList.length, 1);
await video.send(new DeleteStreamCommand({ StreamARN }));
await refused("ResourceNotFoundException", video.send(new DescribeStreamCommand({ StreamARN })));

// Reading.
const at = async (APIName) => (await video.send(new GetDataEndpointCommand({ StreamName, APIName }))).DataEndpoint;
const archive = new KinesisVideoArchivedMediaClient({ ...options, endpoint: await at("LIST_FRAGMENTS") });
const TimestampRange = { StartTimestamp: new Date(0), EndTimestamp: new Date() };
const FragmentSelector = { FragmentSelectorType: "PRODUCER_TIMESTAMP", TimestampRange };
const fragments = [];
for await (const page of paginateListFragments({ client: archive, pageSize: 2 }, { StreamName, FragmentSelector })) {
  fragments.push(...page.Fragments);
}
assert.equal(fragments.length, 3);
assert.ok(fragments.every((fragment) => fragment.FragmentSizeInBytes > 64_000 && fragment.ProducerTimestamp instanceof Date));
const numbers = fragments.map((fragment) => fragment.FragmentNumber);

const media = new KinesisVideoMediaClient({ ...options, endpoint: await at("GET_MEDIA") });
const got = await media.send(new GetMediaCommand({ StreamName, StartSelector: { StartSelectorType: "EARLIEST" } }));
const all = Buffer.from(await got.Payload.transformToByteArray());
assert.ok(numbers.every((number) => all.includes(number)), "GetMedia gives all fragments");
const AfterFragmentNumber = numbers[1];
const last = await media.send(new GetMediaCommand({ StreamName, StartSelector: { StartSelectorType: "FRAGMENT_NUMBER", AfterFragmentNumber } }));
const rest = Buffer.from(await last.Payload.transformToByteArray());
assert.ok(rest.includes(numbers[2]) && !rest.includes(numbers[1]), "only what comes after");
const StartSelector = { StartSelectorType: "SERVER_TIMESTAMP" };
await refused("InvalidArgumentException", media.send(new GetMediaCommand({ StreamName, StartSelector })));
const list = await archive.send(new GetMediaForFragmentListCommand({ StreamName, Fragments: [numbers[2], numbers[0]] }));
const listed = Buffer.from(await list.Payload.transformToByteArray());
assert.ok(listed.indexOf(numbers[2]) < listed.indexOf(numbers[0]), "in the order of the request");

// What PCM cannot be.
const unsupported = "UnsupportedStreamMediaTypeException";
await refused(unsupported, archive.send(new GetClipCommand({ StreamName, ClipFragmentSelector: { FragmentSelectorType: "PRODUCER_TIMESTAMP", TimestampRange: { StartTimestamp: new Date(Date.now() - 3_600_000), EndTimestamp: new Date() } } })));
await refused(unsupported, archive.send(new GetHLSStreamingSessionURLCommand({ StreamName })));
await refused(unsupported, archive.send(new GetDASHStreamingSessionURLCommand({ StreamName })));
await refused("InvalidArgumentException", archive.send(new GetImagesCommand({ StreamName, ImageSelectorType: "PRODUCER_TIMESTAMP", ...TimestampRange, Format: "PNG" })));
await refused("NoDataRetentionException", archive.send(new GetHLSStreamingSessionURLCommand({ StreamName: "session-empty" })));

const stranger = new KinesisVideoClient({ ...options, endpoint, credentials: { accessKeyId, secretAccessKey: "wrong" } });
await refused("InvalidSignatureException", stranger.send(new ListStreamsCommand({})));
console.log("JavaScript referee: all as it should be");
