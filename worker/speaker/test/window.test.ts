import assert from "node:assert/strict";
import { test } from "node:test";
import type { Chunk } from "../src/chunk.ts";
import { SendWindow } from "../src/window.ts";
import { random } from "./browser.ts";

const chunk = (index: number, page = "a", size = 1_000): Chunk => ({
  page, index, at: (page === "a" ? 0 : 1_000_000) + index * 1_000, ms: 1_000, format: "webm-opus", continues: false, size,
  bytes: new Uint8Array(size),
});

/** A window with so many chunks, and what it would send until it wants to wait for an answer. */
function sending(window: SendWindow, from = 0): { chunks: Chunk[]; times: number[] } {
  const sent: { chunks: Chunk[]; times: number[] } = { chunks: [], times: [] };
  for (let now = from; ; ) {
    const next = window.next(now);
    if (next === undefined) return sent;
    if (typeof next === "number") now += next;
    else {
      sent.chunks.push(next);
      sent.times.push(now);
      window.sentOn(1, next, now);
    }
  }
}

test("at most eight chunks are unanswered, so that the writer sees all disorder at once", () => {
  const window = new SendWindow();
  for (let i = 0; i < 20; i++) window.add(chunk(i));
  assert.deepEqual(sending(window).chunks.map((c) => c.index), [0, 1, 2, 3, 4, 5, 6, 7]);
  window.ack(3, 3_000);
  assert.equal((window.next(10_000) as Chunk).index, 8);
});

test("what was buffered goes out no faster than 40 a second", () => {
  const window = new SendWindow();
  for (let i = 0; i < 8; i++) window.add(chunk(i));
  const { times } = sending(window);
  assert.ok(times.every((at, i) => i === 0 || at - (times[i - 1] as number) >= 25), `${times}`);
});

test("on a slow line no more than 64 KB are on their way, but one chunk always may be", () => {
  const window = new SendWindow();
  for (let i = 0; i < 5; i++) window.add(chunk(i, "a", 22 * 1024));
  assert.equal(sending(window).chunks.length, 2);
  const large = new SendWindow();
  large.add(chunk(0, "a", 100_000));
  assert.equal(sending(large).chunks.length, 1);
});

test("a page's chunks wait until the page before is acknowledged: none overtakes", () => {
  const window = new SendWindow();
  window.add(chunk(7, "a"));
  window.add(chunk(8, "a"));
  window.add(chunk(0, "b"));
  assert.deepEqual(sending(window).chunks.map((c) => c.page + c.index), ["a7", "a8"]);
  window.ack(8, 8_000);
  assert.equal(window.next(99_000), undefined);
  window.ack(7, 7_000);
  assert.equal((window.next(99_000) as Chunk).page, "b");
});

test("an acknowledgement of one page's chunk is not taken for another's of the same index", () => {
  const window = new SendWindow();
  window.add(chunk(0, "a"));
  sending(window);
  assert.ok(window.ack(0, 0));
  window.add(chunk(0, "b"));
  sending(window, 1_000);
  assert.equal(window.ack(0, 0), undefined, "the doubled ack of page a's chunk 0");
  assert.equal(window.drained, false);
  assert.ok(window.ack(0, 1_000_000));
});

test("a lost link's chunks are sent again, in their order, and those of other links are not", () => {
  const window = new SendWindow();
  for (let i = 0; i < 4; i++) window.add(chunk(i));
  for (const via of [1, 2, 1]) {
    const next = window.next(99_000) as Chunk;
    window.sentOn(via, next, 0);
  }
  window.lost(1);
  assert.deepEqual([0, 1].map(() => {
    const next = window.next(99_000) as Chunk;
    window.sentOn(2, next, 0);
    return next.index;
  }), [0, 2]);
});

/** A service that answers after 30 ms: what it took, by when, until the window has no more to send or `until` is over. */
function answered(window: SendWindow, isBusy: (index: number, now: number) => boolean, until: number): { index: number; at: number; taken: boolean }[] {
  const heard: { index: number; at: number; taken: boolean }[] = [];
  const coming: { chunk: Chunk; at: number }[] = [];
  for (let now = 0; now < until; now++) {
    for (; coming[0] && coming[0].at <= now; coming.shift()) {
      const { index, at } = coming[0].chunk;
      const taken = !isBusy(index, now);
      heard.push({ index, at: now, taken });
      if (taken) window.ack(index, at);
      else window.retry(1, now, index);
    }
    const next = window.next(now);
    if (typeof next !== "object") continue;
    window.sentOn(1, next, now);
    coming.push({ chunk: next, at: now + 30 });
  }
  return heard;
}

/** For how long each was missing behind a newer one, in ms, at the most. */
function longestHole(heard: { index: number; at: number; taken: boolean }[]): number {
  const taken = heard.filter((one) => one.taken);
  const holes = taken.map(({ index, at }) => at - Math.min(at, ...taken.filter((other) => other.index > index).map((other) => other.at)));
  return Math.max(...holes);
}

test("a busy service is asked again ever later, and nothing overtakes the chunk meanwhile", () => {
  const window = new SendWindow();
  window.add(chunk(0));
  window.add(chunk(1));
  window.sentOn(1, window.next(0) as Chunk, 0);
  window.retry(1, 100, 0);
  assert.equal(window.next(100), 250);
  window.sentOn(1, window.next(350) as Chunk, 350);
  window.retry(1, 400, 0);
  assert.equal(window.next(400), 500);
  assert.equal((window.next(900) as Chunk).index, 0);
});

test("while the service refuses every tenth chunk, the writer waits for none for 3 s, and all come soon", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const roll = random(seed);
    const window = new SendWindow();
    for (let i = 0; i < 240; i++) window.add(chunk(i));
    const heard = answered(window, () => roll() < 0.1, 20_000);
    assert.ok(window.drained, `seed ${seed}: ${window.waiting.length} of 240 wait`);
    assert.ok(longestHole(heard) < 3_000, `seed ${seed}: a hole of ${longestHole(heard)} ms`);
  }
});

test("a service that is busy for a minute is asked for the same eight chunks, seldom, and then gets all in order", () => {
  const window = new SendWindow();
  for (let i = 0; i < 120; i++) window.add(chunk(i));
  const heard = answered(window, (_, now) => now < 60_000, 75_000);
  const refused = heard.filter(({ taken }) => !taken);
  assert.ok(Math.max(...refused.map(({ index }) => index)) < 8, "chunk after chunk is tried");
  assert.ok(refused.length < 60 * 5, `${refused.length} messages`);
  assert.ok(longestHole(heard) < 3_000, `a hole of ${longestHole(heard)} ms`);
  assert.ok(window.drained);
});

test("one chunk that the service never takes holds the others up for seconds, not for ever", () => {
  const window = new SendWindow();
  for (let i = 0; i < 60; i++) window.add(chunk(i));
  const heard = answered(window, (index) => index === 3, 20_000);
  assert.deepEqual(window.waiting.map(({ index }) => index), [3]);
  const last = heard.filter(({ taken }) => taken).at(-1);
  assert.ok(last && last.at < 8_000, `${last?.at} ms`);
});

test("where nobody says which chunk failed, all that are on their way over the link go again", () => {
  const window = new SendWindow();
  for (const index of [0, 1, 2]) window.add(chunk(index));
  window.sentOn(1, window.next(0) as Chunk, 0);
  window.sentOn(2, window.next(100) as Chunk, 100);
  window.sentOn(2, window.next(200) as Chunk, 200);
  window.retry(2, 300);
  assert.deepEqual([window.inFlight(1), window.inFlight(2)], [1, 0]);
  assert.equal(window.next(300), 250);
  assert.equal((window.next(550) as Chunk).index, 1);
  assert.equal(window.ack(2, chunk(2).at)?.index, 2, "one that did arrive is not sent again");
});

test("every millisecond is in exactly one of the four numbers, whatever happens", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const roll = random(seed);
    const window = new SendWindow();
    const sent: number[] = [];
    let [added, refused] = [0, 0];
    for (let step = 0; step < 120; step++) {
      const what = roll();
      if (what < 0.4) window.add(chunk(added++));
      else if (what < 0.6) {
        const next = window.next(step * 1_000);
        if (next && typeof next === "object") window.sentOn(1, next, step * 1_000);
      } else if (what < 0.8) {
        const index = Math.floor(roll() * added);
        if (window.ack(index, index * 1_000)) sent.push(index);
      } else if (what < 0.85) window.lost(1);
      else if (what < 0.9) refused += window.refuse(Math.floor(roll() * added * 3)) ? 1 : 0;
      else {
        const next = Math.floor(roll() * added);
        const gaps = next > 3 ? [{ page: 0, chunkFirst: 2, chunkLast: 3, reason: "PARKED" }] : [];
        const pages = [{ page: 0, firstCapturedAt: 0, lastCapturedAt: next * 1_000, nextChunkIndex: next }];
        window.settle({ session: "active", pages: next ? pages : [], gaps });
      }
      const { waiting, sent: on, stored, missing } = window.counts;
      assert.equal(waiting + on + stored + missing, added * 1_000, `seed ${seed}, step ${step}`);
      assert.ok(Math.min(waiting, on, stored) >= 0 && missing >= refused * 1_000, `seed ${seed}, step ${step}`);
      assert.equal(waiting, (added - sent.length - refused) * 1_000, "what has no ack is said to wait");
    }
  }
});

test("a chunk that is parked counts as missing until it comes back", () => {
  const window = new SendWindow();
  window.add(chunk(0));
  window.add(chunk(1));
  window.ack(0, 0);
  window.ack(1, 1_000);
  const pages = [{ page: 4, firstCapturedAt: 0, lastCapturedAt: 1_000, nextChunkIndex: 2 }];
  const gap = { page: 4, chunkFirst: 1, chunkLast: 1, reason: "PARKED" };
  window.settle({ session: "active", pages, gaps: [gap] });
  assert.deepEqual(window.counts, { waiting: 0, sent: 0, stored: 1_000, missing: 1_000 });
  assert.equal(window.unsettled, 0, "stop() need not wait for an operator");
  window.settle({ session: "active", pages, gaps: [] });
  assert.deepEqual(window.counts, { waiting: 0, sent: 0, stored: 2_000, missing: 0 });
});
