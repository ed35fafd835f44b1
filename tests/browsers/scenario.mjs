// A person speaks for a minute, and everything happens to them that happens to people.

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { account, ledgerFaults } from "./account.mjs";
import { Events } from "./events.mjs";
import { Page } from "./page.mjs";
import { RATE } from "./sound.mjs";
import { sleep, until } from "./wait.mjs";

/** What the microphone heard reaches a recorder that has just begun so late, on a busy machine. */
const DELAY_MS = 800;
/** What the recorder had not handed out is lost by a reload: one timeslice. */
const SLICE_MS = 1_000;
/** The page is there so soon. */
const PAINT_MS = 1_000;
/** Half way through an outage of so many seconds somebody loses patience. */
const RELOADED_FROM_S = 30;
/** What the page says to be stored may differ so much from the stream: a recorder takes a moment to begin, and a second is rounded down. */
const COUNT_S = 4;
/** All that waited must be stored so soon after the network is back. */
const STORED_WITHIN_MS = 15_000;

/** In the page: the recorders, to end one, and all that they handed out. */
function spy() {
  const recorders = (window.testRecorders = []);
  const Own = window.MediaRecorder;
  window.MediaRecorder = class extends Own {
    constructor(...args) {
      super(...args);
      recorders.push(this);
      this.testBlobs = [];
      this.addEventListener("dataavailable", ({ data }) => this.testBlobs.push(data));
    }
  };
  /** Each recorder's file, in base64. */
  window.testRecordings = () =>
    Promise.all(
      recorders.map(async ({ testBlobs }) => {
        const reader = new FileReader();
        reader.readAsDataURL(new Blob(testBlobs));
        await new Promise((resolve) => (reader.onload = resolve));
        return reader.result.split(",")[1] ?? "";
      }),
    );
}

class Speaker {
  cuts = [];
  notes = [];
  recordings = [];

  constructor(page, session) {
    this.page = page;
    this.session = session;
  }

  /** Does it, and remembers that the recording was cut meanwhile, and `before`. */
  async cut(what, work, before = 0) {
    const from = Date.now() - before;
    await work();
    this.cuts.push([from, Date.now() + DELAY_MS]);
    this.notes.push(what);
  }

  /** Keeps what this load of the page has recorded. */
  async keep() {
    this.recordings.push(...(await this.page.evaluate(() => window.testRecordings())));
  }

  state(state, ms = 10_000) {
    return until(`the page is ${state}`, ms, () => this.page.evaluate((state) => document.body.dataset.state === state, state));
  }

  /** The three numbers, in seconds. */
  async numbers() {
    const ids = ["waiting", "sent", "stored", "missing"];
    return Object.fromEntries(await Promise.all(ids.map(async (id) => [id, parseInt(await this.page.text(id), 10)])));
  }
}

/** One browser, from an empty page to a stream; returns what is to be judged. */
export async function speak(name, { stack, pulse, folder, query = "", story, meeting, turns }) {
  const session = `${name}-${Date.now().toString(36)}`;
  const url = `${stack.url}?session=${session}&processing=off${query}`;
  const page = await Page.open(name, { environment: pulse.environment, folder: join(folder, name), url, prepare: spy });
  const events = new Events(stack.url, session);
  const speaker = new Speaker(page, session);
  let met;
  const meet = () => (met ??= meeting.arrive());
  try {
    await prepare(speaker, `${name}-1`);
    await story(speaker, { stack, pulse, name, events, meet, turns });
    const outcome = await stop(speaker);
    const ledger = await stack.ledger(session);
    const sound = await stack.sound(session, join(folder, name, "stream.wav"));
    return { name, speaker, outcome, ledger, sound, events };
  } catch (error) {
    await page.look("failed").catch(() => {});
    throw new Error(`${name}: ${error.message}; the page complained: ${page.complaints.join("; ") || "of nothing"}`, { cause: error });
  } finally {
    void meet();
    writeFileSync(join(folder, name, "events.jsonl"), events.lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    await page.close();
  }
}

/** Holds what came of it against `source`, which began to play at `began`. It takes a while, in which nothing else runs here. */
export function judge({ name, speaker, outcome, ledger, sound, events }, source, began) {
  const { page, session, notes, cuts, recordings, steady, back } = speaker;
  const found = account(sound, ledger.fragments, source, began, cuts, () => recordings.map(decode));
  const wrong = [...page.complaints, ...found.wrong, ...ledgerFaults(ledger), ...truth(outcome, ledger)];
  if (back) {
    const took = events.storedAfter(back);
    notes.push(`all of it stored ${(took / 1_000).toFixed(1)} s after the network was back`);
    if (!(took <= STORED_WITHIN_MS)) wrong.push(`what waited was stored only ${took} ms after the network was back`);
  }
  return { name, session, notes, ledger, ages: steady && events.ages(...steady), ...found, wrong };
}

/** A recorder's file as ffmpeg hears it. */
function decode(recording) {
  const options = ["-v", "error", "-i", "pipe:0", "-f", "f32le", "-ac", "1", "-ar", String(RATE), "pipe:1"];
  const { stdout } = spawnSync("ffmpeg", options, { input: Buffer.from(recording, "base64"), maxBuffer: 2 ** 28 });
  return new Float32Array(stdout.buffer.slice(stdout.byteOffset, stdout.byteOffset + (stdout.length & ~3)));
}

/** Everything, with a network that is away for `outage` s. */
export const everything = (outage) => async (speaker, { stack, pulse, name, events, meet }) => {
  await talk(speaker, stack, outage);
  // A worker that is killed stops its sessions for the queue's 15 s. That is another story than how soon an outage is made up for.
  await until("what waited is stored", 3 * STORED_WITHIN_MS, () => Number.isFinite(events.storedAfter(speaker.back)));
  await meet();
  await lose(speaker, pulse, name);
};

/** After a pause the page stands still until one blob has a megabyte: at 256 kb/s, for 35 s. One after the other: each takes a whole core. */
export async function hugeBlob(speaker, { turns }) {
  await begin(speaker);
  await sleep(3_000);
  await pause(speaker);
  await turns.take(() => stall(speaker, 35));
  await sleep(6_000);
  const largest = await speaker.page.evaluate(() => Math.max(...window.testRecorders.flatMap(({ testBlobs }) => testBlobs.map(({ size }) => size))));
  speaker.notes.push(`largest blob ${largest} bytes`);
  if (largest < 1_000_000) throw new Error(`the largest blob has only ${largest} bytes`);
}

/** Nothing runs on the page for so long. */
async function stall({ page, notes }, seconds) {
  await page.evaluate((ms) => {
    const end = Date.now() + ms;
    while (Date.now() < end);
  }, seconds * 1_000);
  notes.push(`page stood still for ${seconds} s`);
}

/** Microphone and consent, by keyboard. */
async function prepare({ page, notes }, microphone) {
  const painted = () => page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  const paint = await until("the page is painted", 5_000, painted);
  notes.push(`first paint after ${paint.toFixed(0)} ms`);
  if (paint > PAINT_MS) page.complaints.push(`the first paint took ${paint.toFixed(0)} ms`);
  await page.look("idle");
  await page.lookAround("idle");
  const main = () => page.evaluate(() => document.getElementById("main").disabled);
  if (!(await main())) throw new Error("one may speak without consent");
  const isLive = () => page.evaluate(() => document.getElementById("test").hidden);
  await until("the page listens by itself", 2_000, isLive).catch(() => page.press("test")); // where the browser says that it may
  await until("the bar moves", 10_000, () => page.evaluate(() => Number(document.getElementById("meter").getAttribute("aria-valuenow")) > -50));
  await page.choose("device", microphone);
  await page.press("consent");
  await page.look("ready");
}

/** Speech, a pause, silence, keys held, and a network that goes away. */
async function talk(speaker, stack, outage) {
  const { page } = speaker;
  await begin(speaker);
  const began = Date.now();
  await sleep(20_000);
  speaker.steady = [began, Date.now()];
  await page.look("recording");
  await page.lookAround("recording");
  await pause(speaker);
  await sleep(2_000);
  await speaker.cut("muted for 2 s", async () => {
    await page.key("m");
    await page.says("state", /silence/, 2_000);
    await page.look("muted");
    await sleep(1_000);
    await page.key("m");
  });
  await parkAndRedrive(speaker);
  await outlive(speaker, stack, outage);
}

/** The session view: a refused fragment is parked, and the redrive button brings it back to its place. */
async function parkAndRedrive({ page, notes }) {
  await page.press("view-summary", "Enter");
  await until("the session view lists chunks", 5_000, () => page.evaluate(() => document.getElementById("chunks").rows.length > 5));
  await page.look("view");
  await page.lookAround("view");
  await page.choose("error", "4006");
  await page.press("refuse", "Enter");
  const isParked = () => page.evaluate(() => /parked: ack-4006/.test(document.getElementById("holes").textContent));
  await until("the refused fragment is shown as parked", 20_000, isParked);
  await page.says("causes", /ack-4006/, 10_000);
  await page.look("parked");
  await page.press("redrive", "Enter");
  await page.says("say", /sent again, 1 of 1 gaps are closed/, 60_000);
  await until("no gap is shown any more", 5_000, () => page.evaluate(() => document.getElementById("holes-row").hidden));
  await page.press("count", "Enter");
  await page.says("ledger", /, 0 ms in gaps, 0 ms unknown,/, 20_000);
  await page.look("redriven");
  notes.push("a fragment refused, parked and redriven");
}

async function begin(speaker) {
  await speaker.cut("start", async () => {
    await speaker.page.press("main", "Enter");
    await speaker.state("recording");
  });
}

async function pause(speaker) {
  const { page } = speaker;
  await speaker.cut("pause of 3 s", async () => {
    await page.key("p");
    await speaker.state("paused");
    await sleep(3_000);
    await page.look("paused");
    await page.key("p");
    await speaker.state("recording");
  });
}

/** The network goes away for `outage` s; if for long, the page is loaded again meanwhile. */
async function outlive(speaker, stack, outage) {
  const { page } = speaker;
  page.wasOffline = true;
  await stack.act(speaker.session, { what: "dropSocket", seconds: outage });
  speaker.back = Date.now() + outage * 1_000;
  speaker.notes.push(`network away for ${outage} s`);
  await page.says("connection", /Trying again|Connecting/, 3_000);
  await sleep(outage * 500);
  if (outage >= RELOADED_FROM_S) await reload(speaker);
  await sleep(outage * 300);
  const { waiting } = await speaker.numbers();
  if (waiting < outage * 0.6) throw new Error(`${waiting} s wait after ${outage * 0.8} s without network`);
  await page.look("network-away");
  await page.says("connection", /^Connected/, outage * 200 + 15_000);
  await until("what waited is sent", 20_000, async () => (await speaker.numbers()).waiting <= 2);
  await page.look("back");
}

/** The next load of the page goes on by itself, and its numbers go on from where they were. */
async function reload(speaker) {
  const { page } = speaker;
  const all = ({ waiting, sent, stored }) => waiting + sent + stored;
  const load = async () => {
    await speaker.keep();
    const before = await speaker.numbers();
    await page.reload();
    await speaker.state("recording", 15_000);
    const told = async () => {
      const now = await speaker.numbers();
      return now.stored >= before.stored && all(now) >= all(before);
    };
    await until(`the numbers after the reload know of the ${all(before)} s before it`, 5_000, told);
  };
  await speaker.cut("reload", load, SLICE_MS);
}

/** What cuts into a recording: a page that stands still does not, a recorder that ends, a microphone that goes and a reload do. */
async function lose(speaker, pulse, name) {
  const { page } = speaker;
  await stall(speaker, 4);
  if (!(await page.evaluate(() => document.getElementById("view").open))) await page.press("view-summary", "Enter");
  await page.press("kill", "Enter");
  await page.says("say", /worker was killed/, 5_000);
  speaker.notes.push("a worker killed");
  await sleep(3_000);
  await speaker.cut("recorder ended by itself", async () => {
    const count = await page.evaluate(() => (window.testRecorders.at(-1).stop(), window.testRecorders.length));
    await until("another recorder goes on", 5_000, () => page.evaluate((count) => window.testRecorders.length > count, count));
  });
  await sleep(3_000);
  await silence(speaker, pulse, `${name}-1`);
  await sleep(3_000);
  await speaker.cut("microphone unplugged", async () => {
    await pulse.unplug(`${name}-1`);
    await page.says("say", new RegExp(`Recording from (?!.*${name}-1)`), 15_000);
    await page.look("unplugged");
  });
  await sleep(3_000);
  await reload(speaker);
  await sleep(5_000);
}

/** A microphone that gives only zeros is left for another one, until the person comes back to it. */
async function silence(speaker, pulse, microphone) {
  const { page } = speaker;
  await speaker.cut("microphone silent", async () => {
    pulse.silence(microphone, true);
    await page.says("say", new RegExp(`Recording from (?!.*${microphone})`), 20_000);
    pulse.silence(microphone, false);
    await page.choose("device", microphone);
    await page.says("say", new RegExp(`Recording from .*${microphone}`), 20_000);
  });
}

async function stop(speaker) {
  const { page } = speaker;
  await speaker.cut("stop", async () => {
    await page.press("main", "Enter");
    await page.look("storing");
  });
  const said = await page.says("say", /(is|are) stored/, 90_000);
  await page.look("stored");
  await speaker.keep();
  return { said, ...(await speaker.numbers()) };
}

/** The page's own words, held against the ledger. */
function truth({ said, waiting, sent, stored, missing }, { time }) {
  const wrong = [];
  const off = stored - time.audioMs / 1_000;
  if (Math.abs(off) > COUNT_S) wrong.push(`the page says that ${stored} s are stored, the ledger has ${time.audioMs} ms`);
  if (!said.startsWith("Everything is stored")) wrong.push(`the page says: ${said}`);
  if (waiting || sent || missing) wrong.push(`the page ends with ${waiting} s waiting, ${sent} s sent, ${missing} s missing`);
  if (!time.audioMs) wrong.push("the ledger has no audio");
  return wrong;
}
