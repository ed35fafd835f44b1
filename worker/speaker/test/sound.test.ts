import assert from "node:assert/strict";
import { test } from "node:test";
import { base64, message, pieces } from "../src/chunk.ts";
import type { Chunk } from "../src/chunk.ts";
import { choose, isSlow } from "../src/format.ts";
import { Resampler, s16le } from "../src/resample.ts";
import { Browser, random } from "./browser.ts";

test("a blob of 1 MB becomes frames that API Gateway takes, and nothing of it is lost", () => {
  const blob = new Uint8Array(1_000_001).map((_, i) => (i * 31) % 251);
  const cut = [...pieces(blob, 62_501)];
  assert.deepEqual(new Uint8Array(cut.flatMap((piece) => [...piece.bytes])), blob);
  assert.equal(cut.reduce((ms, piece) => ms + piece.ms, 0), 62_501, "its time is shared out whole");
  assert.deepEqual(cut.map((piece) => piece.continues), [...cut.slice(1).map(() => true), false]);
  for (const [i, piece] of cut.entries()) {
    const chunk: Chunk = {
      ...piece, page: "p", index: 2 ** 53 - 1 - i, at: 1_795_335_945_729, format: "pcm-s16le", size: piece.bytes.length,
    };
    assert.ok(message(chunk, piece.bytes).length <= 32 * 1024);
    assert.equal(piece.bytes.length % 2 === 0 || !piece.continues, true, "no sample is cut in two");
  }
});

test("base64 is what the service decodes", () => {
  const roll = random(7);
  for (const length of [0, 1, 2, 3, 8_191, 8_192, 8_193, 22_528]) {
    const bytes = new Uint8Array(length).map(() => Math.floor(roll() * 256));
    assert.deepEqual(new Uint8Array(Buffer.from(base64(bytes), "base64")), bytes);
  }
});

test("the browsers' own recorders come first, and Safari's clock of one second is known", () => {
  const browser = new Browser();
  const having = (...types: string[]) => {
    const MediaRecorder = types.length ? { isTypeSupported: (type: string) => types.includes(type) } : undefined;
    Object.assign(globalThis, { MediaRecorder, AudioWorkletNode: class {} });
    return choose();
  };
  assert.equal(having("audio/webm;codecs=opus", "audio/ogg;codecs=opus").format, "webm-opus");
  assert.equal(having("audio/ogg;codecs=opus").format, "ogg-opus");
  const none = having("audio/mp4");
  assert.deepEqual([none.format, none.mimeType], ["pcm-s16le", undefined]);
  assert.match(none.why, /cannot record Opus/);
  assert.match(having().why, /no MediaRecorder/);
  browser.userAgent = SAFARI_26;
  assert.equal(having("audio/webm;codecs=opus").minTimeslice, 1_000);
  Object.assign(globalThis, { MediaRecorder: undefined, AudioWorkletNode: undefined });
  assert.throws(choose, /cannot record/);
});

const SAFARI_26 =
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.2 Safari/605.1.15";

test("slow is each WebKit before 27, whatever browser it calls itself on a phone", () => {
  const chromium = new Browser().userAgent;
  for (const [slow, userAgent] of [
    [true, SAFARI_26],
    [false, SAFARI_26.replace("26.2", "27.0")],
    [true, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1"],
    [true, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"],
    [false, chromium],
    [false, "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"],
  ] as const) {
    assert.equal(isSlow(userAgent), slow, userAgent);
  }
});

function resampled(rate: number, input: Float32Array, cut: () => number): Float32Array {
  const resampler = new Resampler(rate);
  const output: number[] = [];
  for (let from = 0; from < input.length; ) {
    const to = Math.min(input.length, from + cut());
    output.push(...resampler.push(input.subarray(from, to)));
    from = to;
  }
  return new Float32Array(output);
}

const tone = (rate: number, hz: number, seconds = 1) =>
  new Float32Array(rate * seconds).map((_, i) => 0.5 * Math.sin((2 * Math.PI * hz * i) / rate));

test("speech passes the resampler as it was, and what 16 kHz cannot hold is gone", () => {
  for (const rate of [44_100, 48_000, 96_000, 16_000, 8_000]) {
    const output = resampled(rate, tone(rate, 1_000), () => 128);
    const expected = tone(16_000, 1_000);
    const lost = expected.length - output.length;
    assert.ok(lost >= 0 && lost <= 40, `${rate} Hz: only what the filter still waits for is missing, ${lost}`);
    for (let i = 200; i < output.length; i++) {
      assert.ok(Math.abs((output[i] as number) - (expected[i] as number)) < 2e-3, `${rate} Hz, sample ${i}`);
    }
  }
  const alias = resampled(48_000, tone(48_000, 11_000), () => 128).subarray(200);
  assert.ok(Math.max(...alias.map(Math.abs)) < 1e-3, "11 kHz does not come back as 5 kHz");
});

test("the resampler gives the same samples however its input is cut", () => {
  const input = tone(44_100, 440);
  const whole = resampled(44_100, input, () => input.length);
  for (let seed = 1; seed < 6; seed++) {
    const roll = random(seed);
    const cut = resampled(44_100, input, () => 1 + Math.floor(roll() * 700));
    assert.equal(cut.length, whole.length);
    for (let i = 0; i < cut.length; i++) assert.ok(Math.abs((cut[i] as number) - (whole[i] as number)) < 1e-6, `${i}`);
  }
});

test("samples become 16 bit little endian, and too loud ones do not wrap round", () => {
  const samples = new Int16Array(s16le(new Float32Array([0, 0.5, -0.5, 1, -1, 7, -7])));
  assert.deepEqual([...samples], [0, 16_384, -16_384, 32_767, -32_768, 32_767, -32_768]);
});
