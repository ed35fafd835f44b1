import assert from "node:assert/strict";
import { test } from "node:test";
import { Sender } from "../src/sender.ts";
import type { SenderOptions } from "../src/sender.ts";
import { BEGIN, Browser, random } from "./browser.ts";
import { Server } from "./server.ts";
import type { Counts } from "../src/window.ts";

/** A page in a browser: what it said, and what became of it. */
class Page {
  problems: string[] = [];
  solved: string[] = [];
  room: boolean[] = [];
  counts: Counts | undefined;
  causes: (string | undefined)[] = [];
  said = "";
  /** As the service does after a refusal for good. */
  abandons = false;
  sender: Sender;

  constructor(readonly browser: Browser, options: Partial<SenderOptions> = {}) {
    this.sender = new Sender({ url: "wss://service/live", session: "fox", ...options }, {
      counts: (counts) => (this.counts = counts),
      status: ({ gaps }) => (this.causes = gaps.map(({ cause }) => cause)),
      connection: () => {},
      problem: ({ code, fatal }) => {
        this.problems.push(code);
        if (fatal && this.abandons) this.sender.abandon();
      },
      solved: (code) => this.solved.push(code),
      room: (room) => this.room.push(room),
    });
  }

  /** A blob of so many bytes, each said once. */
  say(bytes: number, ms = 1_000): void {
    const blob = new Uint8Array(bytes).map((_, i) => (this.said.length + i * 7) % 251);
    this.said += Buffer.from(blob).toString("latin1");
    this.sender.add(blob.buffer, "webm-opus", Date.now(), ms);
  }

  async talk(seconds: number, bytes = 600): Promise<void> {
    for (let s = 0; s < seconds; s++) {
      this.say(bytes);
      await this.browser.tick(1_000);
    }
  }
}

function world(options: Partial<SenderOptions> = {}): { browser: Browser; server: Server; page: Page } {
  const browser = new Browser();
  const server = new Server(browser);
  return { browser, server, page: new Page(browser, options) };
}

/** The queue has this, page by page, and nothing else. */
function heard(server: Server, said: string[], message = ""): void {
  const sound = server.sound();
  assert.deepEqual(sound.map((page) => page.length), said.map((page) => page.length), message);
  for (const [i, page] of sound.entries()) {
    const differs = [...page].findIndex((byte, at) => byte !== said[i]?.[at]);
    assert.equal(differs, -1, `page ${i} differs at byte ${differs}. ${message}`);
  }
}

const chunks = (server: Server) => server.heard.filter(({ sent }) => sent.action === "audioChunk");

test("a chunk goes out when it is recorded, and its acknowledgement frees it", async () => {
  const { server, page } = world();
  void page.sender.speak();
  await page.talk(5);
  assert.deepEqual(chunks(server).map(({ at, sent }) => [at, sent.chunkIndex, sent.timestamp - BEGIN]), [
    [0, 0, 0], [1_000, 1, 1_000], [2_000, 2, 2_000], [3_000, 3, 3_000], [4_000, 4, 4_000],
  ]);
  assert.deepEqual(page.counts, { waiting: 0, sent: 5_000, stored: 0, missing: 0 });
});

test("60 s without a network: everything arrives, unchanged, in order, paced, within 15 s of being back", async () => {
  const { browser, server, page } = world();
  void page.sender.speak();
  await page.talk(10);
  server.down();
  browser.online(false);
  await page.talk(60);
  assert.equal(page.sender.counts.waiting, 60_000, "the person is told what waits");
  const back = browser.now;
  server.up = true;
  await page.talk(15);
  heard(server, [page.said]);
  const times = chunks(server).filter(({ at }) => at >= back).map(({ at }) => at);
  assert.ok(times.every((at, i) => i === 0 || at - (times[i - 1] as number) >= 25), "no burst");
  const caught = chunks(server).find(({ sent }) => sent.chunkIndex === 69);
  assert.ok(caught && caught.at - back < 15_000);
  assert.deepEqual(server.queue.map((sent) => sent.timestamp - BEGIN), server.queue.map((_, i) => i * 1_000), "at its true time");
});

test("a blob of 1 MB after a stall arrives whole, in pieces that say so", async () => {
  const { browser, server, page } = world();
  void page.sender.speak();
  await page.talk(2);
  page.say(1_000_000, 62_000);
  await browser.tick(5_000);
  heard(server, [page.said]);
  const pieces = server.queue.filter((sent) => sent.timestamp === BEGIN + 2_000);
  assert.equal(pieces.length, 45);
  assert.deepEqual(pieces.map((sent) => sent.continues), [...Array(44).fill(true), undefined]);
});

test("a reload in mid-outage: the page that comes after sends what the one before had left, first", async () => {
  const { browser, server, page } = world();
  void page.sender.speak();
  await page.talk(5);
  server.down();
  await page.talk(5);
  page.sender.leave();
  browser.reload();
  server.up = true;
  const next = new Page(browser);
  void next.sender.speak();
  await next.talk(5);
  heard(server, [page.said, next.said]);
  assert.ok(server.queue.every((sent, i) => i === 0 || sent.timestamp >= (server.queue[i - 1]?.timestamp ?? 0)));
  assert.deepEqual(next.counts, { waiting: 0, sent: 15_000, stored: 0, missing: 0 });
});

test("opening the page is enough to send what was left, and the connection is let go when it is stored", async () => {
  const { browser, server, page } = world();
  void page.sender.speak();
  await page.talk(1);
  server.down();
  await page.talk(3);
  browser.reload();
  server.up = true;
  const next = new Page(browser);
  void next.sender.open();
  await browser.tick(20_000);
  heard(server, [page.said]);
  assert.equal(server.open.length, 1);
  server.written = 99;
  await browser.tick(10_000);
  assert.deepEqual(next.counts, { waiting: 0, sent: 0, stored: 4_000, missing: 0 });
  assert.equal(server.open.length, 0);
  await new Page(browser).sender.open();
  await browser.tick(5_000);
  assert.equal(server.open.length, 0, "nothing is left for the page after that");
});

test("what another page of the session still holds is that page's to send, and what is a day old is forgotten", async () => {
  const { browser, server, page } = world();
  server.up = false;
  void page.sender.speak();
  await page.talk(3);
  const beside = new Page(browser);
  await browser.until(beside.sender.open(), 5);
  assert.deepEqual(beside.sender.counts.waiting, 0);
  browser.reload();
  await browser.tick(25 * 3_600_000);
  const later = new Page(browser);
  await browser.until(later.sender.open(), 5);
  assert.deepEqual(later.sender.counts.waiting, 0);
});

test("a page that is opened beside one that speaks does not take its place, whatever a third one left", async () => {
  const { browser, server, page } = world();
  server.up = false;
  void page.sender.speak();
  await page.talk(2);
  const [lock] = browser.locks;
  server.up = true;
  await browser.tick(5_000);
  const crashed = new Page(browser);
  server.answer = () => {};
  void crashed.sender.speak();
  await crashed.talk(2);
  browser.reload();
  browser.lock(lock as string); // the first page still speaks
  const sockets = server.sockets.length;
  const beside = new Page(browser);
  await browser.until(beside.sender.open(), 5);
  await browser.tick(10_000);
  assert.deepEqual([server.sockets.length - sockets, beside.sender.counts.waiting], [0, 2_000]);
  server.answer = (sent, socket) => server.take(sent, socket);
  await beside.sender.speak();
  await browser.tick(5_000);
  assert.equal(beside.sender.counts.waiting, 0, "who starts to speak here takes over");
});

test("a page that is still being taken down when its next load opens is not another page", async () => {
  const { browser, server, page } = world();
  server.up = false;
  void page.sender.speak();
  await page.talk(3);
  const [lock] = browser.locks;
  browser.reload();
  browser.lock(lock as string);
  const next = new Page(browser);
  void next.sender.open();
  await browser.tick(600);
  browser.unlock(lock as string);
  server.up = true;
  await browser.tick(10_000);
  heard(server, [page.said], "what was left would lie on the disk until the page is loaded once more");
});

test("after a reload the numbers are the session's, not the load's", async () => {
  const { browser, server, page } = world({ statusEvery: 2_000 });
  server.answer = (sent, socket) =>
    sent.chunkIndex === 2 ? socket.say({ type: "error", code: "BAD_BASE64", chunkIndex: 2 }) : server.take(sent, socket);
  void page.sender.speak();
  await page.talk(6);
  server.written = 3; // the chunks 0, 1 and 3
  await page.talk(4);
  server.down();
  await page.talk(5);
  const before = page.sender.counts;
  assert.deepEqual(before, { waiting: 5_000, sent: 6_000, stored: 3_000, missing: 1_000 });
  browser.reload();
  const next = new Page(browser, { statusEvery: 2_000 });
  void next.sender.open();
  await browser.settle();
  assert.deepEqual(next.counts, before, "at once, and without a network");
  server.up = true;
  server.written = Infinity;
  await browser.tick(20_000);
  assert.deepEqual(next.counts, { waiting: 0, sent: 0, stored: 14_000, missing: 1_000 });
  browser.reload();
  const last = new Page(browser);
  await browser.until(last.sender.open(), 5);
  assert.deepEqual(last.counts, next.counts, "no chunk is counted twice");
});

test("what one recording left open, the next one on the same page goes on to follow", async () => {
  const { browser, server, page } = world();
  void page.sender.speak();
  await page.talk(2);
  server.written = Infinity;
  server.gaps = [{ page: 0, chunkFirst: 1, chunkLast: 1, reason: "PARKED", cause: "ack-4006" }];
  await browser.until(page.sender.finish(), 20);
  assert.deepEqual(page.causes, ["ack-4006"], "the person cannot tell the operator why a second is missing");
  const next = new Page(browser);
  await browser.until(next.sender.open(), 5);
  assert.deepEqual(next.counts, { waiting: 0, sent: 1_000, stored: 1_000, missing: 0 });
  server.gaps = []; // an operator has brought it back
  await browser.tick(20_000);
  assert.deepEqual([next.counts.stored, server.open.length], [2_000, 0]);
});

test("a disk that is full takes nothing from what it has, and is used again when it has room", async () => {
  const { browser, server, page } = world();
  server.up = false;
  void page.sender.speak();
  await page.talk(250, 20_000);
  const full = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  const put = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = full;
  await page.talk(3, 20_000);
  IDBObjectStore.prototype.put = put;
  assert.ok(page.problems.includes("NO_STORAGE"), "the person is told not to close the page");
  server.up = true;
  await browser.tick(30_000);
  await page.talk(1, 20_000);
  assert.ok(page.solved.includes("NO_STORAGE"));
  heard(server, [page.said], "what was only on disk came too");
});

test("where the browser keeps nothing on disk the person is told, and all goes on", async () => {
  const { server, page } = world();
  Object.assign(globalThis, { indexedDB: { open: () => { throw new Error("private window"); } } });
  void page.sender.speak();
  await page.talk(3);
  assert.deepEqual(page.problems, ["NO_STORAGE"]);
  heard(server, [page.said]);
});

test("a long outage fills the disk and not the memory, and more than the limit is not taken", async () => {
  const { browser, server, page } = world({ bufferLimit: 8_000_000 });
  server.up = false;
  void page.sender.speak();
  await page.talk(399, 20_000);
  assert.deepEqual(page.room, []);
  await page.talk(1, 20_000);
  assert.deepEqual(page.room, [false], "the recorder pauses, and the person is told");
  server.up = true;
  await browser.tick(60_000);
  assert.deepEqual(page.room, [false, true]);
  heard(server, [page.said], "what was only on disk came too");
});

test("API Gateway's own error names no chunk: what is on its way goes again soon, over the same connection", async () => {
  const { browser, server, page } = world({ statusEvery: 0 });
  let failures = 1;
  server.answer = (sent, socket) => {
    const fails = sent.action === "audioChunk" && failures-- > 0;
    if (fails) socket.say({ message: "Internal server error", connectionId: "x", requestId: "y" });
    else server.take(sent, socket);
  };
  void page.sender.speak();
  page.say(10_000);
  await browser.tick(1_500);
  assert.deepEqual([server.queue.length, server.sockets.length], [1, 1]);
  heard(server, [page.said]);
});

/** A service whose answers are lost, late, doubled, out of order, or about nothing. */
function troubled(server: Server, roll: () => number): void {
  server.answer = (sent, socket) => {
    const what = roll();
    if (sent.action !== "audioChunk" || what < 0.3) return server.take(sent, socket);
    if (what < 0.4) return; // neither arrives nor is answered
    if (what < 0.5) return server.enqueue(sent); // arrives, and the answer is lost
    if (what < 0.55) return socket.say({ type: "error", code: "RETRY", chunkIndex: what < 0.53 ? sent.chunkIndex : undefined });
    if (what < 0.6) return socket.say({ message: "Internal server error", connectionId: "x", requestId: "y" });
    if (what < 0.64) return socket.end(1006);
    setTimeout(() => server.take(sent, socket), roll() * 12_000); // late
    if (what > 0.9) setTimeout(() => server.take(sent, socket), roll() * 20_000); // twice
  };
}

/** A person speaks for a while over a network that comes and goes. */
async function speakThroughIt(server: Server, page: Page, roll: () => number, blobs: number): Promise<void> {
  void page.sender.speak();
  for (let s = 0; s < blobs; s++) {
    page.say(1 + Math.floor(roll() * 40_000));
    await page.browser.tick(roll() * 2_000);
    if (roll() < 0.05) server.down();
    if (roll() < 0.3) server.up = true;
  }
}

/** All is well again: what comes of it. */
async function end(server: Server, page: Page): Promise<Counts> {
  server.up = true;
  server.answer = (sent, socket) => server.take(sent, socket);
  server.written = Infinity;
  return page.browser.until(page.sender.finish());
}

test("acknowledgements that are lost, late, doubled and out of order change nothing", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const { server, page } = world();
    const roll = random(seed);
    Math.random = random(seed + 1_000);
    troubled(server, roll);
    await speakThroughIt(server, page, roll, 40);
    const counts = await end(server, page);
    heard(server, [page.said], `seed ${seed}: all of it, once, in order`);
    assert.deepEqual(counts, { waiting: 0, sent: 0, stored: 40_000, missing: 0 }, `seed ${seed}`);
  }
});

test("nor does a page that is loaded again and again meanwhile", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const { browser, server } = world();
    const roll = random(seed);
    Math.random = random(seed + 1_000);
    troubled(server, roll);
    const pages: Page[] = [];
    for (let load = 0; load < 4; load++) {
      if (roll() < 0.7) pages.at(-1)?.sender.leave();
      server.unload();
      browser.reload();
      const page = new Page(browser);
      pages.push(page);
      if (roll() < 0.5) void page.sender.open();
      await browser.tick(roll() * 2_000);
      await speakThroughIt(server, page, roll, 10);
    }
    const counts = await end(server, pages.at(-1) as Page);
    heard(server, pages.map(({ said }) => said), `seed ${seed}: all of it, once, in order`);
    assert.deepEqual([counts.waiting, counts.missing], [0, 0], `seed ${seed}`);
  }
});

test("a planned hand-over in mid-speech loses nothing and sends nothing twice", async () => {
  const { browser, server, page } = world({ statusEvery: 0 });
  await speakUntilHandOver(browser, page);
  await page.talk(60, 10);
  assert.equal(server.sockets.length, 2);
  heard(server, [page.said]);
  assert.equal(chunks(server).length, 61);
});

/** Up to 10 s before the first connection is left for another one. */
async function speakUntilHandOver(browser: Browser, page: Page): Promise<void> {
  Math.random = () => 0;
  void page.sender.speak();
  await page.talk(1);
  await browser.tick(110 * 60_000 - 11_000);
}

test("what is said while a hand-over is under way is taken for no other page's, whichever way the hand-over ends", async () => {
  for (const fails of [false, true]) {
    const { browser, server, page } = world({ statusEvery: 0 });
    await speakUntilHandOver(browser, page);
    server.handshakeMs = fails ? 15_000 : 1_800; // the door knows the new connection before the page does
    await page.talk(30, 10);
    server.handshakeMs = 0;
    await page.talk(60, 10);
    assert.deepEqual(page.problems, [], "the recording ends in mid-speech");
    assert.deepEqual([server.sockets.length, server.open.length], [fails ? 3 : 2, 1]);
    heard(server, [page.said]);
    assert.equal(page.sender.counts.waiting, 0);
  }
});

test("another page that takes over is believed", async () => {
  const { page } = world({ statusEvery: 0 });
  void page.sender.speak();
  await page.talk(3);
  const other = new WebSocket("wss://service/live");
  await page.talk(2);
  assert.deepEqual([other.readyState, page.problems[0]], [WebSocket.OPEN, "REPLACED"]);
});

test("a service that is silent is left for another connection, with all that was on its way", async () => {
  const { server, page } = world();
  void page.sender.speak();
  await page.talk(3);
  const deaf = server.open[0];
  server.answer = (sent, socket) => socket !== deaf && server.take(sent, socket);
  await page.talk(20);
  heard(server, [page.said]);
  assert.equal(server.open.length, 1);
});

test("a chunk that the service will never take is counted as missing, and the rest goes on", async () => {
  const { browser, server, page } = world();
  server.answer = (sent, socket) =>
    sent.chunkIndex === 1
      ? socket.say({ type: "error", code: "UNSUPPORTED_FORMAT", message: "…", hint: "…", chunkIndex: 1 })
      : server.take(sent, socket);
  void page.sender.speak();
  await page.talk(4);
  assert.deepEqual(page.problems, ["CHUNK_REFUSED"]);
  server.written = Infinity;
  const counts = await browser.until(page.sender.finish());
  assert.deepEqual(counts, { waiting: 0, sent: 0, stored: 3_000, missing: 1_000 });
});

test("finish() ends the stream once and waits until the writer has all of it", async () => {
  const { browser, server, page } = world({ statusEvery: 0 });
  void page.sender.speak();
  await page.talk(4);
  assert.ok(!server.heard.some(({ sent }) => sent.action === "status"), "a page that shows nothing asks nothing");
  let over = false;
  const done = page.sender.finish().finally(() => (over = true));
  await browser.tick(10_000);
  const end = server.heard.find(({ sent }) => sent.action === "endStream");
  assert.equal(end?.sent.chunkIndex, 3);
  server.written = 3;
  await browser.tick(5_000);
  assert.equal(over, false, "the last chunk is not in the stream yet");
  server.written = 4;
  assert.deepEqual(await browser.until(done), { waiting: 0, sent: 0, stored: 4_000, missing: 0 });
  assert.equal(server.ends, 1);
  assert.equal(server.open.length, 0);
});

test("finish() does not wait for an operator, nor for ever", async () => {
  const parked = world();
  void parked.page.sender.speak();
  await parked.page.talk(2);
  parked.server.written = Infinity;
  parked.server.gaps = [{ page: 0, chunkFirst: 1, chunkLast: 1, reason: "PARKED" }];
  const counts = await parked.browser.until(parked.page.sender.finish(), 20);
  assert.deepEqual(counts, { waiting: 0, sent: 0, stored: 1_000, missing: 1_000 });

  const stuck = world();
  void stuck.page.sender.speak();
  await stuck.page.talk(2);
  const sent = await stuck.browser.until(stuck.page.sender.finish(), 120);
  assert.deepEqual(sent, { waiting: 0, sent: 2_000, stored: 0, missing: 0 }, "in the queue, and no more is known");
});

test("finish() during an outage waits for the network, whatever it takes", async () => {
  const { browser, server, page } = world();
  void page.sender.speak();
  await page.talk(2);
  server.down();
  await page.talk(2);
  server.written = Infinity;
  const done = page.sender.finish();
  await browser.tick(600_000);
  assert.equal(page.sender.counts.waiting, 2_000);
  server.up = true;
  assert.equal((await browser.until(done)).stored, 4_000);
  heard(server, [page.said]);
});

test("a page that goes away pushes what it has into its socket", async () => {
  const { server, page, browser } = world();
  void page.sender.speak();
  await page.talk(2);
  for (let i = 0; i < 20; i++) page.say(500);
  for (let i = 0; i < 10; i++) await browser.settle(); // the disk has them
  page.sender.leave();
  await browser.settle();
  heard(server, [page.said]);
  assert.equal(server.ends, 1);
});

test("an ended session is noticed, and stop() then ends", async () => {
  const { browser, server, page } = world();
  void page.sender.speak();
  await page.talk(2);
  server.session = "ended";
  await page.talk(11);
  assert.deepEqual(page.problems, ["SESSION_ENDED"]);
  page.sender.abandon();
  await browser.until(page.sender.finish(), 5);
  assert.equal(server.open.length, 0);
});

test("a refusal that names no chunk is about what is on its way: it goes again soon", async () => {
  for (const code of ["TOO_MANY_MESSAGES", "RETRY"]) {
    const { browser, server, page } = world({ statusEvery: 0 });
    let refusals = 3;
    server.answer = (sent, socket) =>
      refusals-- > 0 ? socket.say({ type: "error", code, message: "…", hint: "…" }) : server.take(sent, socket);
    void page.sender.speak();
    await page.talk(4);
    await browser.tick(1_000);
    heard(server, [page.said], code);
    assert.equal(server.sockets.length, 1, code);
  }
});

test("a disk that takes a chunk and is full when it commits does not have it", async () => {
  const { browser, server, page } = world();
  server.up = false;
  void page.sender.speak();
  await page.talk(230, 20_000);
  const put = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = function (...row) {
    const request = put.apply(this, row);
    request.addEventListener("success", () => this.transaction.abort());
    return request;
  };
  await page.talk(3, 20_000);
  IDBObjectStore.prototype.put = put;
  assert.ok(page.problems.includes("NO_STORAGE"), "the person is not told");
  server.up = true;
  await browser.tick(60_000);
  heard(server, [page.said], "what the disk lost was only there");
});

test("a disk that does not answer when it is opened holds nothing up for ever", async () => {
  const { browser, server, page } = world();
  const request = Object.create(IDBOpenDBRequest.prototype) as IDBOpenDBRequest;
  Object.assign(globalThis, { indexedDB: { open: () => Object.defineProperty(request, "onsuccess", { writable: true }) } });
  void page.sender.speak();
  await page.talk(10);
  assert.deepEqual(page.problems, ["NO_STORAGE"]);
  heard(server, [page.said]);
});

test("a disk that cannot be read for a moment loses nothing of what it has", async () => {
  const { browser, server, page } = world();
  server.up = false;
  void page.sender.speak();
  await page.talk(230, 20_000);
  const get = IDBObjectStore.prototype.get;
  IDBObjectStore.prototype.get = () => {
    throw new DOMException("internal error", "UnknownError");
  };
  server.up = true;
  await browser.tick(10_000);
  IDBObjectStore.prototype.get = get;
  await browser.tick(30_000);
  browser.reload();
  await browser.until(new Page(browser).sender.open(), 5);
  await browser.tick(30_000);
  heard(server, [page.said]);
});

test("an acknowledgement whose time is null is one without a time", async () => {
  const { browser, server, page } = world();
  server.answer = (sent, socket) => socket.say({ type: "ack", chunkIndex: sent.chunkIndex, timestamp: null });
  void page.sender.speak();
  await page.talk(3);
  await browser.tick(1_000);
  assert.equal(page.sender.counts.waiting, 0, "it would be sent for ever");
});

test("a large blob is on disk as a whole, or not at all: a reload does not cut it in two", async () => {
  const { browser, server, page } = world();
  server.up = false;
  void page.sender.speak();
  await page.talk(2);
  page.say(1_000_000, 62_000);
  while (page.sender.counts.waiting < 3_000) await new Promise((resolve) => setImmediate(resolve));
  browser.reload();
  server.up = true;
  await browser.until(new Page(browser).sender.open(), 5);
  await browser.tick(10_000);
  heard(server, [page.said]);
});

test("what is said in a page that was opened days ago is not a day old", async () => {
  const { browser, server, page } = world();
  await page.sender.open();
  await browser.tick(50 * 3_600_000);
  server.up = false;
  void page.sender.speak();
  await page.talk(5);
  browser.reload();
  server.up = true;
  await browser.until(new Page(browser).sender.open(), 5);
  await browser.tick(10_000);
  heard(server, [page.said]);
});

test("a session that ends while finish() waits for the network ends finish()", async () => {
  const { browser, server, page } = world();
  void page.sender.speak();
  await page.talk(2);
  server.down();
  await page.talk(2);
  const done = page.sender.finish();
  await browser.tick(1_000);
  server.answer = (sent, socket) => socket.say({ type: "error", code: "SESSION_ENDED", message: "…", hint: "…", chunkIndex: sent.chunkIndex });
  server.up = true;
  page.abandons = true;
  const counts = await browser.until(done, 60);
  assert.equal(counts.waiting, 2_000);
});
