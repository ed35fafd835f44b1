import assert from "node:assert/strict";
import { test } from "node:test";
import { AudioStreamService } from "../src/service.ts";
import type { AudioStreamOptions, State } from "../src/service.ts";
import { BEGIN, Browser } from "./browser.ts";
import { Devices, FakeRecorder } from "./microphone.ts";
import type { Sent } from "./server.ts";
import { Server } from "./server.ts";

class World {
  browser = new Browser();
  server = new Server(this.browser);
  devices = new Devices(this.browser, ["built-in", "Built-in"], ["usb", "USB headset"]);
  states: State[] = [];
  problems: string[] = [];
  solved: string[] = [];
  microphones: string[] = [];
  awake: boolean[] = [];
  service: AudioStreamService;

  constructor(options: Partial<AudioStreamOptions> = {}) {
    this.service = new AudioStreamService({ url: "wss://service/live", session: "fox", statusEvery: 0, ...options });
    this.service.on("state", (state) => this.states.push(state));
    this.service.on("problem", ({ code }) => this.problems.push(code));
    this.service.on("solved", (code) => this.solved.push(code));
    this.service.on("microphone", ({ label }) => this.microphones.push(label));
    this.service.on("awake", (awake) => this.awake.push(awake));
  }

  async start(): Promise<void> {
    await this.browser.until(this.service.start(), 5);
  }

  async stop(): ReturnType<AudioStreamService["stop"]> {
    this.server.written = Infinity;
    return this.browser.until(this.service.stop());
  }

  /** Each chunk that the queue has: its index, and when it was handed out, in seconds. */
  get chunks(): [number, number][] {
    return this.server.queue.map((sent) => [sent.chunkIndex, (sent.timestamp - this.#begin) / 1_000]);
  }

  get #begin(): number {
    return Date.now() - this.browser.now;
  }
}

const bytes = ({ audioData }: Sent) => [...atob(audioData)].map((c) => c.charCodeAt(0));

test("a person speaks and stops: a chunk a second, all of it stored, the microphone let go", async () => {
  const world = new World();
  await world.start();
  await world.browser.tick(4_500);
  const outcome = await world.stop();
  assert.deepEqual(world.server.queue.map((sent) => sent.chunkIndex), [0, 1, 2, 3, 4]);
  assert.equal(outcome.stored, true);
  assert.deepEqual(outcome.counts, { waiting: 0, sent: 0, stored: 4_500, missing: 0 });
  assert.deepEqual(world.states, ["starting", "recording", "stopping", "stopped"]);
  assert.equal(world.devices.live, undefined, "the browser's own recording sign goes out");
  assert.equal(world.server.ends, 1);
  assert.deepEqual([FakeRecorder.all[0]?.timeslices, FakeRecorder.all[0]?.options.audioBitsPerSecond], [[1_000], 64_000]);
  assert.deepEqual(world.problems, []);
});

test("pause is a hole in time, and numbering goes on behind it with a fresh header", async () => {
  const world = new World();
  await world.start();
  await world.browser.tick(2_500);
  await world.service.pause();
  await world.browser.tick(10_000);
  const during = world.server.queue.length;
  await world.browser.tick(1_000);
  assert.equal(world.server.queue.length, during, "nothing is recorded");
  void world.service.resume();
  await world.browser.tick(2_000);
  await world.stop();
  const indices = world.server.queue.map((sent) => sent.chunkIndex);
  assert.deepEqual(indices, indices.map((_, i) => i));
  assert.equal(FakeRecorder.all.length, 2);
  const headers = world.server.queue.filter((sent) => bytes(sent)[0] === 1);
  assert.equal(headers.length, 2);
  const [, second] = headers as [Sent, Sent];
  const before = world.server.queue[second.chunkIndex - 1] as Sent;
  assert.ok(second.timestamp - before.timestamp > 10_000, "the last words before the pause keep their time");
});

test("mute sends silence: time goes on", async () => {
  const world = new World();
  await world.start();
  await world.browser.tick(1_000);
  world.service.mute();
  await world.browser.tick(5_000);
  world.service.unmute();
  await world.browser.tick(2_000);
  await world.stop();
  const loud = world.server.queue.map((sent) => Math.max(...bytes(sent)));
  assert.deepEqual(loud, [2, 0, 0, 0, 0, 0, 2, 2]);
  assert.equal(FakeRecorder.all.length, 1, "a muted microphone is not a silent one");
  assert.deepEqual(world.problems, []);
});

test("a clock that is set back in mid-speech puts no sound before what was said earlier", async () => {
  const world = new World();
  await world.start();
  await world.browser.tick(3_000);
  world.browser.setMs = -3_600_000;
  await world.browser.tick(3_000);
  const times = world.server.queue.map(({ timestamp }) => timestamp - BEGIN);
  assert.deepEqual(times, [1_000, 2_000, 3_000, 4_000, 5_000, 6_000]);
  assert.equal((await world.stop()).stored, true, "the service's word is about the same times");
});

test("an empty blob gets no number", async () => {
  const world = new World({ timeslice: 250 });
  await world.start();
  const recorder = FakeRecorder.all[0] as FakeRecorder;
  recorder.empty = true;
  await world.browser.tick(2_000);
  recorder.empty = false;
  await world.browser.tick(1_000);
  await world.stop();
  assert.deepEqual(world.server.queue.map((sent) => sent.chunkIndex), world.server.queue.map((_, i) => i));
  assert.ok(world.server.queue.every((sent) => sent.audioData.length > 0));
});

test("Safari before 27 is never asked for less than a second", async () => {
  const world = new World({ timeslice: 250 });
  world.browser.userAgent =
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.2 Safari/605.1.15";
  await world.start();
  assert.deepEqual(FakeRecorder.all[0]?.timeslices, [1_000]);
});

test("an unplugged microphone: the same is tried, then the default; recording and numbering go on", async () => {
  const world = new World({ deviceId: "usb" });
  await world.start();
  await world.browser.tick(2_500);
  world.devices.unplug("usb");
  await world.browser.tick(3_000);
  assert.deepEqual(world.devices.asked, ["usb", "usb", undefined]);
  assert.deepEqual(world.microphones, ["USB headset", "Built-in"]);
  assert.deepEqual([world.problems, world.solved.filter((c) => c === "MICROPHONE_GONE")], [["MICROPHONE_GONE"], ["MICROPHONE_GONE"]]);
  world.devices.plug("usb", "USB headset");
  await world.browser.tick(2_000);
  assert.deepEqual(world.microphones, ["USB headset", "Built-in", "USB headset"], "the chosen one is back");
  await world.stop();
  assert.deepEqual(world.server.queue.map((sent) => sent.chunkIndex), world.server.queue.map((_, i) => i));
  const times = world.chunks.map(([, at]) => at);
  assert.ok(times.every((at, i) => i === 0 || at - (times[i - 1] as number) <= 1.001), `no second is missing: ${times}`);
});

test("a person who goes on while the microphone is gone is recorded as soon as there is one", async () => {
  const world = new World();
  await world.start();
  await world.browser.tick(2_000);
  await world.service.pause();
  world.devices.unplug("usb");
  world.devices.unplug("built-in");
  await world.browser.tick(1_000);
  await world.service.resume();
  await world.browser.tick(5_000);
  assert.deepEqual([world.states.at(-1), world.problems], ["recording", ["MICROPHONE_GONE"]]);
  world.devices.plug("new", "New");
  await world.browser.tick(5_000);
  const before = world.server.queue.length;
  await world.browser.tick(3_000);
  assert.equal(world.server.queue.length, before + 3);
  assert.equal((await world.stop()).stored, true);
});

test("where no microphone is left it is tried for until there is one", async () => {
  const world = new World();
  await world.start();
  world.devices.unplug("usb");
  world.devices.unplug("built-in");
  await world.browser.tick(30_000);
  assert.deepEqual(world.problems, ["MICROPHONE_GONE"], "said once");
  world.devices.plug("new", "New");
  await world.browser.tick(5_000);
  assert.equal(world.microphones.at(-1), "New");
  const before = world.server.queue.length;
  await world.browser.tick(3_000);
  assert.ok(world.server.queue.length > before);
});

test("a permission that is taken back ends the recording, and nobody is asked again and again", async () => {
  const world = new World();
  await world.start();
  await world.browser.tick(1_000);
  world.devices.refusal = "NotAllowedError";
  world.devices.live?.end();
  await world.browser.tick(30_000);
  assert.deepEqual([world.states.at(-1), world.problems], ["failed", ["MICROPHONE_GONE", "MICROPHONE_DENIED"]]);
  assert.ok(world.devices.asked.length <= 3, `${world.devices.asked.length}`);
});

test("stop() twice is one end", async () => {
  const world = new World();
  await world.start();
  await world.browser.tick(2_000);
  world.server.written = Infinity;
  const [one, two] = await world.browser.until(Promise.all([world.service.stop(), world.service.stop()]));
  assert.deepEqual([one, world.server.ends, one.stored], [two, 1, true]);
});

test("a microphone that gives no sound at all for 2 s is said to, and taken again, then the default", async () => {
  const world = new World({ deviceId: "usb" });
  await world.start();
  await world.browser.tick(1_000);
  (world.devices.devices[1] as { sample: number }).sample = 0;
  await world.browser.tick(2_000);
  assert.deepEqual(world.problems, []);
  await world.browser.tick(500);
  assert.deepEqual(world.problems, ["MICROPHONE_SILENT"]);
  assert.deepEqual(world.devices.asked, ["usb", "usb"]);
  await world.browser.tick(3_000);
  assert.deepEqual(world.devices.asked, ["usb", "usb", undefined]);
  assert.deepEqual(world.solved.filter((code) => code === "MICROPHONE_SILENT"), ["MICROPHONE_SILENT"]);
});

test("a default microphone that stays silent is not taken again every two seconds", async () => {
  const world = new World();
  for (const device of world.devices.devices) device.sample = 0;
  await world.start();
  await world.browser.tick(60_000);
  assert.ok(world.devices.asked.length <= 5, `${world.devices.asked.length} times`);
  assert.deepEqual(world.problems, ["MICROPHONE_SILENT"]);
});

test("a microphone that the system mutes is said to, and said to be back", async () => {
  const world = new World();
  await world.start();
  const muted = () => {
    for (const device of world.devices.devices) for (const track of device.tracks) track.muted = true;
  };
  muted();
  await world.browser.tick(750);
  assert.deepEqual(world.problems, [], "not for a moment");
  await world.browser.tick(1_000);
  assert.deepEqual(world.problems, ["MICROPHONE_MUTED"]);
  await world.browser.tick(1_000);
  assert.deepEqual(world.solved.filter((code) => code === "MICROPHONE_MUTED"), ["MICROPHONE_MUTED"]);
});

test("a recorder that stands still is started again", async () => {
  const world = new World();
  await world.start();
  await world.browser.tick(2_000);
  (FakeRecorder.all[0] as FakeRecorder).stalled = true;
  await world.browser.tick(6_000);
  assert.equal(FakeRecorder.all.length, 2);
  assert.deepEqual([world.problems, world.solved.includes("RECORDER_FAILED")], [["RECORDER_FAILED"], true]);
  await world.browser.tick(2_000);
  await world.stop();
  assert.deepEqual(world.server.queue.map((sent) => sent.chunkIndex), world.server.queue.map((_, i) => i));
});

test("each refusal of the microphone has its own sentence, and another try may succeed", async () => {
  for (const [name, code] of [
    ["NotAllowedError", "MICROPHONE_DENIED"],
    ["NotFoundError", "NO_MICROPHONE"],
    ["NotReadableError", "MICROPHONE_BUSY"],
  ] as const) {
    const world = new World();
    world.devices.refusal = name;
    await assert.rejects(world.start(), { code, fatal: true });
    assert.deepEqual([world.states.at(-1), world.problems], ["failed", [code]]);
    world.devices.refusal = undefined;
    await world.start();
    assert.deepEqual([world.states.at(-1), world.solved.includes(code)], ["recording", true]);
  }
  const insecure = new World();
  insecure.browser.mediaDevices = undefined;
  await assert.rejects(insecure.start(), { code: "INSECURE_PAGE" });
});

test("a remembered microphone that is not connected today does not keep anybody from speaking", async () => {
  const world = new World({ deviceId: "at-home" });
  await world.start();
  assert.deepEqual([world.devices.asked, world.microphones], [["at-home", undefined], ["Built-in"]]);
});

test("the microphone can be tried before, and is the one that records then", async () => {
  const world = new World();
  await world.service.prepare();
  await world.browser.tick(500);
  assert.deepEqual(world.service.level, { peak: Math.fround(0.1), rms: Math.fround(0.1) });
  assert.equal(world.server.sockets.length, 0);
  await world.start();
  assert.equal(world.devices.asked.length, 1);
});

test("another microphone takes over without a second's loss", async () => {
  const world = new World();
  await world.start();
  await world.browser.tick(1_500);
  await world.browser.until(world.service.use("usb"), 3);
  await world.browser.tick(1_500);
  await world.stop();
  assert.deepEqual(world.microphones, ["Built-in", "USB headset"]);
  const times = world.chunks.map(([, at]) => at);
  assert.ok(times.every((at, i) => i === 0 || at - (times[i - 1] as number) <= 1.001), `${times}`);
});

test("what waits beyond the limit pauses the recording, and says so, until there is room", async () => {
  const world = new World({ bufferLimit: 1_000 });
  world.server.up = false;
  await world.start();
  await world.browser.tick(30_000);
  assert.ok(world.problems.includes("BUFFER_FULL"));
  assert.ok(world.service.counts.waiting < 13_000, `${world.service.counts.waiting}`);
  world.server.up = true;
  await world.browser.tick(20_000);
  assert.ok(world.solved.includes("BUFFER_FULL"));
  const resumed = world.server.queue.length;
  await world.browser.tick(3_000);
  assert.ok(world.server.queue.length > resumed);
});

test("a page that goes away sends what it can, and the next load of it the rest", async () => {
  const world = new World();
  await world.start();
  await world.browser.tick(3_400);
  world.server.down();
  await world.browser.tick(2_000);
  world.browser.event("pagehide", { persisted: false });
  await world.browser.settle();
  world.browser.reload();
  world.server.up = true;
  const next = new AudioStreamService({ url: "wss://service/live", session: "fox" });
  void next.open();
  await world.browser.tick(5_000);
  const indices = world.server.queue.map((sent) => sent.chunkIndex);
  assert.deepEqual(indices, indices.map((_, i) => i));
  assert.ok(indices.length >= 5);
});

test("the screen is kept on, again after the page was out of sight, and let go at the end", async () => {
  const world = new World();
  await world.start();
  assert.deepEqual([world.browser.wakeLocks, world.awake], [1, [true]]);
  world.browser.show(false);
  await world.browser.settle();
  world.browser.show(true);
  await world.browser.settle();
  assert.deepEqual([world.browser.wakeLocks, world.awake], [2, [true, false, true]]);
  await world.stop();
  assert.equal(world.browser.sentinel?.released, true);
});

test("a session that ends elsewhere ends the recording with a sentence", async () => {
  const world = new World({ statusEvery: 2_000 });
  await world.start();
  await world.browser.tick(2_000);
  world.server.session = "ended";
  await world.browser.tick(5_000);
  assert.deepEqual([world.states.at(-1), world.problems], ["failed", ["SESSION_ENDED"]]);
  assert.equal(world.devices.live, undefined);
});

test("who was replaced may start again, and all of it is stored then", async () => {
  const world = new World();
  await world.start();
  await world.browser.tick(2_500);
  new WebSocket("wss://service/live"); // another page speaks
  await world.browser.tick(2_000);
  assert.deepEqual([world.states.at(-1), world.problems], ["failed", ["REPLACED"]]);
  await world.start();
  assert.deepEqual(world.solved, ["REPLACED"], "the page goes on to say that it was replaced");
  await world.browser.tick(3_000);
  const { stored, counts } = await world.stop();
  assert.deepEqual([stored, counts.waiting, world.server.ends], [true, 0, 1], "what was said before would be forgotten");
});

test("a listener that fails disturbs nobody", async () => {
  const world = new World();
  world.service.on("state", () => {
    throw new Error("of the page's own");
  });
  await world.start();
  await world.browser.tick(1_000);
  assert.equal(world.states.at(-1), "recording");
  assert.ok(world.browser.errors.length > 0, "it is in the console");
});
