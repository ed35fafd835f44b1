import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectionState } from "../src/socket.ts";
import { Connection } from "../src/socket.ts";
import { TokenSource } from "../src/token.ts";
import { BEGIN, Browser, random } from "./browser.ts";
import type { FakeSocket } from "./server.ts";
import { Server } from "./server.ts";

const MINUTE = 60_000;

class Owner {
  browser = new Browser();
  server = new Server(this.browser);
  lost: number[] = [];
  opened: number[] = [];
  states: ConnectionState[] = [];
  problems: string[] = [];
  connection: Connection;

  constructor(tokens?: TokenSource) {
    this.connection = new Connection("wss://service/live", tokens, {
      message: () => {},
      open: (link) => this.opened.push(link),
      lost: (link) => this.lost.push(link),
      state: (state) => this.states.push(state),
      problem: (error) => this.problems.push(error.code),
    });
  }

  get socket(): FakeSocket {
    return this.server.sockets.at(-1) as FakeSocket;
  }
}

/** A JSON Web Token that expires at `exp` ms, unsigned. */
const jwt = (expiresAt: number, id = 0) => `x.${btoa(JSON.stringify({ exp: expiresAt / 1_000, id })).replaceAll("=", "")}.y`;

test("it tries again after 0.5 to 15 s, ever later and never at the same moments, and says so to the person", async () => {
  const owner = new Owner();
  owner.server.up = false;
  owner.connection.open();
  await owner.browser.tick(5 * MINUTE);
  const waits = owner.states.flatMap((state) => (state.state === "waiting" ? [state.retryMs] : []));
  assert.ok(waits.length > 12 && waits.every((ms) => ms >= 500 && ms <= 15_000), `${waits}`);
  assert.ok(Math.max(...waits.slice(0, 2)) <= 1_000, `${waits}`);
  const [soon, late] = [waits.slice(4, 20), waits.slice(-8)];
  assert.ok(Math.max(...soon) <= 4_000, `the first minutes of an outage: back within 4 s. ${waits}`);
  assert.ok(Math.min(...late) >= 7_500, `later it presses less. ${waits}`);
  assert.ok(new Set(waits.slice(6)).size > 5, "a thousand pages do not come back at once");
  assert.ok(owner.problems.includes("NOT_CONNECTED"));
  owner.server.up = true;
  await owner.browser.tick(15_000);
  assert.deepEqual(owner.opened, [1]);
});

test("a network that is back is used at once", async () => {
  const owner = new Owner();
  owner.server.up = false;
  owner.connection.open();
  await owner.browser.tick(5 * MINUTE);
  owner.server.up = true;
  owner.browser.online(true);
  await owner.browser.tick(0);
  assert.deepEqual(owner.opened, [1]);
});

test("after a change of network a connection that no longer answers is noticed within 5 s", async () => {
  const owner = new Owner();
  owner.connection.open();
  await owner.browser.tick(1_000);
  owner.server.answer = () => {};
  owner.browser.online(true);
  await owner.browser.tick(5_000);
  assert.deepEqual(owner.lost, [1]);
  await owner.browser.tick(1_000);
  assert.deepEqual(owner.opened, [1, 2]);
});

test("a late close of a replaced socket does not end the one that replaced it", async () => {
  const owner = new Owner();
  owner.connection.open();
  await owner.browser.tick(1_000);
  const first = owner.socket;
  const late = first.onclose;
  owner.connection.drop(1);
  await owner.browser.tick(1_000);
  assert.deepEqual([owner.opened, owner.lost], [[1, 2], [1]]);
  late?.({ code: 1006 });
  first.onmessage?.({ data: "{}" });
  await owner.browser.tick(MINUTE);
  assert.deepEqual([owner.opened, owner.lost], [[1, 2], [1]]);
});

test("an idle connection is kept by a ping before API Gateway's ten minutes", async () => {
  const owner = new Owner();
  owner.connection.open();
  await owner.browser.tick(60 * MINUTE);
  const pings = owner.server.heard.filter(({ sent }) => sent.action === "ping").map(({ at }) => at);
  assert.ok(pings.length >= 6);
  assert.ok(pings.every((at, i) => at - (pings[i - 1] ?? 0) < 10 * MINUTE), `${pings}`);
  assert.deepEqual(owner.opened, [1]);
});

test("before API Gateway's two hours another connection takes over, and the old one still hears its answers", async () => {
  const owner = new Owner();
  owner.connection.open();
  const traffic: number[] = [];
  for (let minute = 0; minute < 5 * 60; minute++) {
    await owner.browser.tick(MINUTE);
    traffic.push(owner.connection.link);
  }
  assert.ok(traffic.every((link) => link > 0), "there is always a connection");
  assert.deepEqual(owner.opened, [1, 2, 3]);
  assert.deepEqual(owner.lost, [1, 2]);
  assert.ok(traffic.lastIndexOf(1) + 1 < 119);
});

test("a hand-over that fails is tried again while the old connection goes on", async () => {
  const owner = new Owner();
  owner.connection.open();
  await owner.browser.tick(100 * MINUTE);
  owner.server.sockets[0] as FakeSocket;
  const Working = WebSocket;
  Object.assign(globalThis, { WebSocket: class { constructor() { throw new Error("no"); } } });
  await owner.browser.tick(11 * MINUTE);
  assert.deepEqual([owner.opened, owner.lost], [[1], []]);
  Object.assign(globalThis, { WebSocket: Working });
  await owner.browser.tick(2 * MINUTE);
  assert.deepEqual(owner.opened, [1, 2]);
});

test("a hand-over that fails just when the old connection ends is followed by another try", async () => {
  const owner = new Owner();
  owner.connection.open();
  await owner.browser.tick(100 * MINUTE);
  const Working = WebSocket;
  let tried = false;
  Object.assign(globalThis, { WebSocket: class { constructor() { tried = true; } close() {} } }); // neither opens nor fails
  while (!tried) await owner.browser.tick(1_000);
  owner.server.open[0]?.end(1001);
  await owner.browser.tick(2_000);
  Object.assign(globalThis, { WebSocket: Working });
  await owner.browser.tick(20_000);
  assert.deepEqual([owner.opened, owner.lost], [[1, 2], [1]]);
});

test("an issuer that does not answer is not waited for for ever", async () => {
  let answers = false;
  const owner: Owner = new Owner(new TokenSource(() => (answers ? Promise.resolve("t") : new Promise(() => {}))));
  owner.connection.open();
  await owner.browser.tick(MINUTE);
  assert.ok(owner.problems.includes("TOKEN_FAILED"));
  answers = true;
  await owner.browser.tick(20_000);
  assert.deepEqual(owner.opened, [1]);
});

test("a connection that does not open in 10 s is given up", async () => {
  const owner = new Owner();
  Object.assign(globalThis, { WebSocket: class { close() {} } });
  owner.connection.open();
  await owner.browser.tick(12_000);
  assert.ok(owner.states.some((state) => state.state === "waiting"));
});

test("each connection has a token that holds, renewed before it expires", async () => {
  const given: number[] = [];
  const owner: Owner = new Owner(
    new TokenSource(async () => {
      given.push(owner.browser.now);
      return jwt(BEGIN + owner.browser.now + 15 * MINUTE, given.length);
    }),
  );
  owner.connection.open();
  await owner.browser.tick(70 * MINUTE);
  assert.deepEqual(given.map((at) => at / MINUTE), [0, 14, 28, 42, 56, 70]);
  owner.connection.close();
  await owner.browser.tick(60 * MINUTE);
  assert.equal(given.length, 6, "a closed connection asks for none");
});

test("a computer whose clock is ahead of the token's life does not ask for one every second", async () => {
  let given = 0;
  const owner: Owner = new Owner(new TokenSource(async () => jwt(Date.now() - 5 * MINUTE, ++given)));
  owner.connection.open();
  await owner.browser.tick(10 * MINUTE);
  assert.deepEqual([given, owner.opened], [1, [1]]);
  owner.server.open[0]?.end(1006);
  await owner.browser.tick(MINUTE);
  assert.deepEqual([given, owner.opened], [2, [1, 2]]);
});

test("where the issuer is away too, the token at hand opens the next connection", async () => {
  let away = false;
  const owner: Owner = new Owner(
    new TokenSource(async () => {
      if (away) throw new Error("no network");
      return { token: "opaque", expiresAt: Date.now() + 15 * MINUTE };
    }),
  );
  owner.connection.open();
  await owner.browser.tick(10 * MINUTE);
  away = true;
  owner.server.down();
  await owner.browser.tick(MINUTE);
  assert.ok(!owner.problems.includes("TOKEN_FAILED"));
  owner.server.up = true;
  await owner.browser.tick(15_000);
  assert.deepEqual(owner.opened, [1, 2]);
  assert.match(owner.socket.url, /token=opaque$/);
  owner.server.down();
  await owner.browser.tick(10 * MINUTE);
  assert.ok(owner.problems.includes("TOKEN_FAILED"), "an expired one does not");
});

test("after a minute without a network Firefox, which holds back who failed often, is back within 10 s", async () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    Math.random = random(seed);
    const owner: Owner = new Owner(
      new TokenSource(async () => {
        if (!owner.server.up) throw new Error("no network");
        return jwt(Date.now() + 60 * MINUTE);
      }),
    );
    owner.server.isFirefox = true;
    owner.connection.open();
    await owner.browser.tick(MINUTE);
    owner.server.down();
    await owner.browser.tick(MINUTE + seed * 500);
    owner.server.up = true;
    await owner.browser.tick(10_000);
    assert.deepEqual(owner.opened, [1, 2], `seed ${seed}: ${owner.server.sockets.length} sockets were tried`);
  }
});
