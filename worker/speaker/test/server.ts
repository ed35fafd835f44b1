/** The service for tests: WebSockets, connection-handler's answers, a queue that takes each message once, a writer. */

import type { Browser } from "./browser.ts";
import type { SessionStatus } from "../src/status.ts";

export interface Sent {
  action: string;
  audioData: string;
  timestamp: number;
  format: string;
  chunkIndex: number;
  continues?: boolean;
  ack?: boolean;
}

export class Server {
  browser: Browser;
  sockets: FakeSocket[] = [];
  /** Whether a new connection is accepted, and messages arrive. */
  up = true;
  /** How long a connection takes to open. */
  handshakeMs = 0;
  /** Firefox opens no socket soon after one failed; how long it waits grows with each failure, by what was measured. */
  isFirefox = false;
  failedAt = -Infinity;
  heldBackMs = 200;
  /** The connection that speaks: the last one that was asked for, from then on. */
  speaker = { socket: 0, since: 0 };
  /** What becomes of a message: answered at once, or as the test says. */
  answer: (sent: Sent, socket: FakeSocket) => void;
  /** Every message as it arrived, with its time. */
  heard: { at: number; socket: number; sent: Sent }[] = [];
  /** The queue: each chunk once, as SQS drops what it had. */
  queue: Sent[] = [];
  ends = 0;
  /** Chunks of the queue that the writer has written. */
  written = 0;
  session = "active";
  gaps: SessionStatus["gaps"] = [];

  constructor(browser: Browser) {
    this.browser = browser;
    this.answer = (sent, socket) => this.take(sent, socket);
    const server = this;
    Object.defineProperty(globalThis, "WebSocket", {
      value: class extends FakeSocket {
        constructor(url: string) {
          super(server, url);
        }
      },
      configurable: true,
      writable: true,
    });
  }

  get open(): FakeSocket[] {
    return this.sockets.filter((socket) => socket.readyState === 1);
  }

  /** The network goes: sockets end with an error, and new ones do not open. */
  down(): void {
    this.up = false;
    for (const socket of this.open) socket.end(1006);
  }

  /** The document that had the sockets is gone, and them with it. */
  unload(): void {
    for (const socket of this.sockets) {
      socket.onopen = socket.onclose = socket.onmessage = null;
      socket.readyState = 3;
    }
  }

  /** As connection-handler does it. */
  take(sent: Sent, socket: FakeSocket): void {
    if (sent.action === "ping") return socket.say({ type: "pong" });
    if (sent.action === "status") return socket.say(this.status());
    if (sent.action === "endStream") {
      this.ends++;
      if (sent.ack) socket.say({ type: "ack", action: "endStream" });
      return;
    }
    this.enqueue(sent);
    if (sent.ack) socket.say({ type: "ack", chunkIndex: sent.chunkIndex, timestamp: sent.timestamp });
  }

  enqueue(sent: Sent): void {
    const known = this.queue.some(
      (had) => had.chunkIndex === sent.chunkIndex && had.timestamp === sent.timestamp && had.audioData === sent.audioData,
    );
    if (!known) this.queue.push(sent);
  }

  /** The writer's checkpoint after `written` chunks of the queue: a page begins with each chunk 0. */
  status(): object {
    const pages: { page: number; firstCapturedAt: number; lastCapturedAt: number; nextChunkIndex: number }[] = [];
    for (const sent of this.queue.slice(0, this.written)) {
      const page = pages.at(-1);
      if (page && sent.chunkIndex > 0) {
        page.nextChunkIndex = Math.max(page.nextChunkIndex, sent.chunkIndex + 1);
        page.lastCapturedAt = Math.max(page.lastCapturedAt, sent.timestamp);
      } else {
        pages.push({
          page: pages.length,
          firstCapturedAt: sent.timestamp,
          lastCapturedAt: sent.timestamp,
          nextChunkIndex: sent.chunkIndex + 1,
        });
      }
    }
    return { type: "status", session: this.session, pages, gaps: this.gaps };
  }

  /** The sound that the queue has, page by page, in the order of its numbers. */
  sound(): string[] {
    const pages: string[][] = [];
    const queue = [...this.queue].sort((a, b) => a.timestamp - b.timestamp || a.chunkIndex - b.chunkIndex);
    for (const sent of queue) {
      if (sent.chunkIndex === 0) pages.push([]);
      (pages.at(-1) as string[])[sent.chunkIndex] = atob(sent.audioData);
    }
    return pages.map((chunks) => chunks.join(""));
  }
}

export class FakeSocket {
  static readonly OPEN = 1;
  readyState = 0;
  bufferedAmount = 0;
  onopen: (() => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  readonly url: string;
  readonly number: number;
  #server: Server;

  constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
    this.number = server.sockets.push(this);
    if (server.up) server.speaker = { socket: this.number, since: server.browser.now };
    const opened = () => (server.up ? this.#opened() : this.end(1006));
    const heldBack = server.isFirefox ? Math.max(0, server.failedAt + server.heldBackMs - server.browser.now) : 0;
    if (server.handshakeMs + heldBack) setTimeout(opened, server.handshakeMs + heldBack);
    else queueMicrotask(opened);
  }

  send(text: string): void {
    if (this.readyState !== 1) return; // as a browser does: dropped without a word
    const sent = JSON.parse(text) as Sent;
    if (text.length > 32 * 1024) throw new Error(`a frame of ${text.length} bytes is too large for API Gateway`);
    if (!this.#server.up) return;
    const { speaker, browser } = this.#server;
    const isReplaced = sent.action === "audioChunk" && speaker.socket !== this.number && speaker.since < browser.now;
    const replaced = { type: "error", code: "REPLACED", message: "…", hint: "…", chunkIndex: sent.chunkIndex };
    this.#server.heard.push({ at: this.#server.browser.now, socket: this.number, sent });
    queueMicrotask(() => (isReplaced ? this.say(replaced) : this.#server.answer(sent, this)));
  }

  say(answer: object): void {
    if (this.readyState === 1 && this.#server.up) this.onmessage?.({ data: JSON.stringify(answer) });
  }

  close(): void {
    this.end(1000);
  }

  end(code: number): void {
    if (this.readyState === 3) return;
    if (this.readyState === 0) {
      this.#server.failedAt = this.#server.browser.now;
      this.#server.heldBackMs *= 1.5;
    }
    this.readyState = 3;
    queueMicrotask(() => this.onclose?.({ code }));
  }

  #opened(): void {
    if (this.readyState !== 0) return;
    this.readyState = 1;
    this.onopen?.();
  }
}
