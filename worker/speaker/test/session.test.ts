import assert from "node:assert/strict";
import { test } from "node:test";
import type { Line } from "../../../tests/local-stack/studio/src/session.ts";
import { Session } from "../../../tests/local-stack/studio/src/session.ts";

/** A chunk of a second that came and was queued. */
const chunk = (chunkIndex: number, capturedMs: number): Line[] => [
  { event: "chunkSent", chunkIndex, capturedMs, timestampMs: capturedMs + 5 },
  { event: "chunkQueued", chunkIndex, capturedMs, timestampMs: capturedMs + 20 },
];
const told = (...lines: Line[]) => {
  const session = new Session();
  for (const line of lines) session.take(line);
  return session;
};
const written = (chunkFirst: number, chunkLast: number, timestampMs: number): Line => ({
  event: "fragmentWritten",
  fragmentNumber: "9",
  producerTimestampMs: timestampMs - 2_000,
  samples: 32_000,
  persistedAfterMs: 100,
  ageMs: 300,
  chunkFirst,
  chunkLast,
  timestampMs,
});

test("a chunk is followed from the page to PERSISTED", () => {
  const deferred: Line = { event: "deferred", chunkFirst: 0, chunkLast: 0, seconds: 1, why: "young", timestampMs: 1_050 };
  const session = told(...chunk(0, 1_000), deferred, ...chunk(1, 2_000), written(0, 1, 2_300));
  const [first, second] = session.chunks;
  assert.deepEqual([first?.state, first?.sent, first?.queued, first?.deferred, first?.written, first?.persisted], ["persisted", 1_005, 1_020, 1, 2_200, 2_300]);
  assert.deepEqual([second?.from, second?.at, second?.deferred], [1_000, 2_000, 0]);
  assert.deepEqual(session.fragments.map(({ first, last, ms }) => [first, last, ms]), [[0, 1, 2_000]]);
});

test("after a reload the same index is another chunk", () => {
  const session = told(...chunk(0, 1_000), ...chunk(0, 9_000), written(0, 0, 1_400));
  assert.deepEqual(session.chunks.map(({ state }) => state), ["persisted", "queued"]);
  session.take(written(0, 0, 9_400));
  assert.deepEqual(session.chunks.map(({ persisted }) => persisted), [1_400, 9_400]);
});

test("a chunk that is sent again is one chunk", () => {
  const session = told(...chunk(0, 1_000), ...chunk(0, 1_000));
  assert.deepEqual(session.chunks.map(({ times, queued }) => [times, queued]), [[2, 1_020]]);
});

test("a parked batch is a hole with its reason until a redrive has filled it", () => {
  const range = { chunkFirst: 0, chunkLast: 1 };
  const parked: Line = { event: "parked", ...range, reason: "ack-4006", message: "refused", timestampMs: 2_100 };
  const session = told(...chunk(0, 1_000), ...chunk(1, 2_000), { event: "gapOpened", ...range, timestampMs: 2_100 }, parked);
  assert.deepEqual(session.holes, [{ first: 0, last: 1, from: 0, to: 2_000, state: "parked", why: "ack-4006: refused" }]);
  assert.deepEqual(session.chunks.map(({ state, why }) => [state, why]), [["parked", "ack-4006"], ["parked", "ack-4006"]]);
  session.take({ ...written(0, 1, 5_000), backfill: true });
  session.take({ event: "gapClosed", ...range, timestampMs: 5_000 });
  assert.equal(session.holes[0]?.state, "closed");
  assert.deepEqual(session.chunks.map(({ state }) => state), ["persisted", "persisted"]);
});

test("a hole stays where it was when the page is loaded again and counts from 0", () => {
  const range = { chunkFirst: 0, chunkLast: 0 };
  const session = told(...chunk(0, 1_000), { event: "gapOpened", ...range, timestampMs: 1_100 }, ...chunk(0, 60_000));
  session.take({ ...written(0, 0, 61_000), backfill: true });
  session.take({ event: "gapClosed", ...range, timestampMs: 61_000 });
  assert.deepEqual(session.holes.map(({ from, to, state }) => [from, to, state]), [[0, 1_000, "closed"]]);
});

test("lines of other kinds, and of no range, change nothing", () => {
  const session = told(...chunk(0, 1_000), { event: "connected", timestampMs: 1 }, { event: "parked", chunkFirst: null, chunkLast: null, timestampMs: 2 });
  assert.deepEqual([session.chunks[0]?.state, session.holes], ["queued", []]);
});
