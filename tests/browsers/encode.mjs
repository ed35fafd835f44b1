// node encode.mjs SOURCE.wav FOLDER BITRATES TIMESLICES: Chromium's MediaRecorder records the source at each of the bitrates (kb/s, comma
// between them) as FOLDER/KBPS.webm, and at each timeslice (ms) and 48 kb/s as FOLDER/MS/messages.jsonl, which `make replay` understands.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import puppeteer from "puppeteer-core";
import { BROWSERS, program } from "./page.mjs";

const [, , source, folder, bitrates, timeslices] = process.argv;
const list = (text) => text.split(",").map(Number);
const wav = readFileSync(source);
const server = createServer((request, response) => {
  response.setHeader("content-type", request.url === "/wav" ? "audio/wav" : "text/html");
  response.end(request.url === "/wav" ? wav : "<!doctype html><title>encode</title>");
}).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const options = BROWSERS.chromium.options;
const args = [...options.args, "--autoplay-policy=no-user-gesture-required"];
const browser = await puppeteer.launch({ ...options, args, headless: true, executablePath: program("chromium"), protocolTimeout: 1_200_000 });
const page = await browser.newPage();
await page.goto(`http://127.0.0.1:${server.address().port}/`);
const recorded = await page.evaluate(record, list(bitrates), list(timeslices));
await browser.close();
server.close();
mkdirSync(folder, { recursive: true });
for (const { kbps, blobs } of recorded.bitrates) writeFileSync(join(folder, `${kbps}.webm`), Buffer.concat(blobs.map(({ data }) => Buffer.from(data, "base64"))));
for (const { ms, blobs } of recorded.timeslices) {
  mkdirSync(join(folder, String(ms)), { recursive: true });
  writeFileSync(join(folder, String(ms), "messages.jsonl"), messages(blobs));
}

/** Runs in the page. */
async function record(bitrates, timeslices) {
  const context = new AudioContext({ sampleRate: 48_000 });
  const sound = await context.decodeAudioData(await (await fetch("/wav")).arrayBuffer());
  const player = new AudioBufferSourceNode(context, { buffer: sound });
  const recorder = (kbps, ms) => {
    const to = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    player.connect(to);
    const recorder = new MediaRecorder(to.stream, { mimeType: "audio/webm;codecs=opus", audioBitsPerSecond: kbps * 1_000 });
    const blobs = [];
    recorder.ondataavailable = ({ data }) => data.size && blobs.push({ data, at: Date.now() });
    const over = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.start(ms);
    return { recorder, over, blobs, kbps, ms };
  };
  const all = [bitrates.map((kbps) => recorder(kbps, 1_000)), timeslices.map((ms) => recorder(48, ms))];
  player.start();
  await new Promise((resolve) => setTimeout(resolve, sound.duration * 1_000 + 1_000)); // it never ends where a recorder still listens
  const text = async (blob) => {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    let binary = "";
    for (let from = 0; from < bytes.length; from += 8_192) binary += String.fromCharCode(...bytes.subarray(from, from + 8_192));
    return btoa(binary);
  };
  const done = ({ recorder, over, blobs, kbps, ms }) => {
    recorder.stop();
    return over.then(async () => ({ kbps, ms, blobs: await Promise.all(blobs.map(async ({ data, at }) => ({ data: await text(data), at }))) }));
  };
  const [a, b] = await Promise.all(all.map((recorders) => Promise.all(recorders.map(done))));
  return { bitrates: a, timeslices: b };
}

/** One queue message a line, blobs cut as a page cuts them. */
function messages(blobs) {
  const piece = 22 * 1_024;
  const pieces = blobs.flatMap(({ data, at }) => {
    const bytes = Buffer.from(data, "base64");
    const count = Math.ceil(bytes.length / piece);
    return Array.from({ length: count }, (_, n) => ({ bytes: bytes.subarray(n * piece, (n + 1) * piece), at, continues: n + 1 < count }));
  });
  return pieces
    .map(({ bytes, at, continues }, chunkIndex) => {
      const message = { action: "writeToStream", sessionId: "quality", audioData: bytes.toString("base64"), timestamp: at, format: "webm-opus", chunkIndex };
      return `${JSON.stringify(continues ? { ...message, continues } : message)}\n`;
    })
    .join("");
}
