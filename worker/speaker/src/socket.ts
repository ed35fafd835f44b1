/** A connection that is always being kept: back-off, hand-over, pings. A link is one WebSocket; its handlers know only it. */

import { AudioStreamError } from "./errors.ts";
import type { TokenSource } from "./token.ts";

/** API Gateway ends a connection after 2 h; another one takes over before. */
const HAND_OVER_MS = 110 * 60_000;
/** API Gateway ends a connection that is idle for 10 min. */
const PING_MS = 4 * 60_000;
const PONG_MS = 5_000;
const OPEN_MS = 10_000;
const BACKOFF_MS = 500;
/** Who has just lost the connection is back soon after the network is. */
const BACKOFF_LONGEST_MS = 4_000;
/** Who has had none for minutes does not press. */
const BACKOFF_PATIENT_MS = 2 * 60_000;
const BACKOFF_PATIENTLY_MS = 15_000;
/** A link that lasted so long was good: the next failure starts the back-off afresh. */
const GOOD_MS = 10_000;
/** How long a link that was replaced may still hear acknowledgements. */
const LINGER_MS = 10_000;
/** The person is told after so many failures in a row. */
const TELL_AFTER = 3;

/** How the connection is. */
export type ConnectionState =
  | { state: "closed" }
  | { state: "connecting" }
  | { state: "open" }
  /** The next try is in `retryMs`; `offline`: the browser says there is no network. */
  | { state: "waiting"; retryMs: number; offline: boolean };

/** What the owner hears. */
export interface ConnectionEvents {
  message(link: number, message: Record<string, unknown>): void;
  /** A new link takes messages. */
  open(link: number): void;
  /** A link is gone, and all that was on its way over it. */
  lost(link: number): void;
  state(state: ConnectionState): void;
  problem(error: AudioStreamError): void;
}

class Link {
  readonly id: number;
  readonly socket: WebSocket;
  readonly openedAt = performance.now();
  usedAt = performance.now();
  timers: ReturnType<typeof setTimeout>[] = [];
  pong: ReturnType<typeof setTimeout> | undefined;

  constructor(id: number, socket: WebSocket) {
    this.id = id;
    this.socket = socket;
  }

  close(): void {
    for (const timer of [...this.timers, this.pong]) clearTimeout(timer);
    this.socket.onopen = this.socket.onclose = this.socket.onmessage = null;
    this.socket.close(1000);
  }
}

export class Connection {
  #url: string;
  #tokens: TokenSource | undefined;
  #events: ConnectionEvents;
  #link: Link | undefined;
  #old = new Set<Link>();
  #ids = 0;
  #failures = 0;
  #failingSince = 0;
  #wanted = false;
  #trying = false;
  /** The last try to open a link failed, and the service may have seen it open. */
  #failed = false;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(url: string, tokens: TokenSource | undefined, events: ConnectionEvents) {
    this.#url = url;
    this.#tokens = tokens;
    this.#events = events;
  }

  /** The link that takes messages; 0: none. */
  get link(): number {
    return this.#link?.id ?? 0;
  }

  /** Whether another link of this page may have taken this one's place: the service says `REPLACED` then, too. */
  isReplacedByOwn(id: number): boolean {
    return id !== this.link || this.#trying || this.#failed;
  }

  /** Bytes that the browser has not handed to the network yet. */
  get buffered(): number {
    return this.#link?.socket.bufferedAmount ?? 0;
  }

  /** Connects, and connects again until `close`. */
  open(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    addEventListener("online", this.#online);
    this.#connect();
  }

  /** Ends it for good. */
  close(): void {
    if (!this.#wanted) return;
    this.#wanted = false;
    removeEventListener("online", this.#online);
    clearTimeout(this.#retry);
    this.#tokens?.stop();
    for (const link of [...this.#old, this.#link]) link?.close();
    this.#old.clear();
    this.#link = undefined;
    this.#events.state({ state: "closed" });
  }

  /** Sends on the current link; 0: there is none. */
  send(text: string): number {
    const link = this.#link;
    if (!link) return 0;
    link.socket.send(text);
    link.usedAt = performance.now();
    return link.id;
  }

  /** This link does not answer. */
  drop(id: number): void {
    this.done(id);
    if (this.#link?.id === id) this.#ended(this.#link);
  }

  /** An old link has nothing on its way any more. */
  done(id: number): void {
    for (const link of this.#old) if (link.id === id) this.#retire(link);
  }

  /** Asks whether the link is alive, after a sleep or a change of network. */
  check(): void {
    if (this.#link) this.#ping(this.#link);
    else if (this.#wanted && !this.#trying) this.#connect();
  }

  #online = (): void => {
    this.#failures = 0;
    this.check();
  };

  async #connect(handOver = false): Promise<void> {
    clearTimeout(this.#retry);
    if (this.#trying) return;
    this.#trying = true;
    if (!handOver) this.#events.state({ state: "connecting" });
    try {
      const link = await this.#opened();
      if (!this.#wanted) return link.close();
      this.#adopt(link);
    } catch (error) {
      this.#failed = true;
      if (!this.#link) this.#again(error); // where there is one, this was a hand-over, and another one follows
    } finally {
      this.#trying = false;
    }
  }

  /** A new WebSocket, once it is open. */
  async #opened(): Promise<Link> {
    let url = this.#url;
    if (this.#tokens) {
      const late = new Promise<never>((_, reject) => setTimeout(() => reject(new AudioStreamError("TOKEN_FAILED")), OPEN_MS));
      const token = await Promise.race([this.#tokens.get(), late]);
      url += `${url.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}`;
    }
    const socket = new WebSocket(url);
    await new Promise<void>((resolve, reject) => {
      const refused = () => {
        clearTimeout(timer);
        socket.onopen = socket.onclose = null;
        socket.close();
        this.#tokens?.forget();
        reject(new AudioStreamError("NOT_CONNECTED"));
      };
      const timer = setTimeout(refused, OPEN_MS);
      socket.onclose = refused;
      socket.onopen = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    return new Link(++this.#ids, socket);
  }

  #adopt(link: Link): void {
    const before = this.#link;
    this.#link = link;
    this.#failed = false;
    link.socket.onmessage = ({ data }) => this.#heard(link, data);
    link.socket.onclose = () => this.#ended(link);
    link.timers.push(setTimeout(() => this.#handOver(link), HAND_OVER_MS * (1 - Math.random() / 20)));
    this.#watch(link);
    if (before) {
      this.#old.add(before);
      before.timers.push(setTimeout(() => this.#retire(before), LINGER_MS));
    }
    this.#events.state({ state: "open" });
    this.#events.open(link.id);
  }

  #heard(link: Link, data: unknown): void {
    clearTimeout(link.pong);
    link.pong = undefined;
    let message: unknown;
    try {
      message = JSON.parse(String(data));
    } catch {
      return; // not of our protocol
    }
    if (message && typeof message === "object") this.#events.message(link.id, message as Record<string, unknown>);
  }

  #handOver(link: Link): void {
    if (this.#link !== link) return;
    link.timers.push(setTimeout(() => this.#handOver(link), 60_000)); // if this try fails
    void this.#connect(true);
  }

  #retire(link: Link): void {
    if (!this.#old.delete(link)) return;
    link.close();
    this.#events.lost(link.id);
  }

  #ended(link: Link): void {
    if (this.#old.has(link)) return this.#retire(link);
    if (this.#link !== link) return;
    this.#link = undefined;
    link.close();
    if (performance.now() - link.openedAt >= GOOD_MS) this.#failures = 0;
    this.#events.lost(link.id);
    this.#again();
  }

  #again(error?: unknown): void {
    if (!this.#wanted) return;
    if (this.#failures === 0) this.#failingSince = performance.now();
    const isLong = performance.now() - this.#failingSince >= BACKOFF_PATIENT_MS;
    const longest = Math.min(BACKOFF_MS * 2 ** this.#failures++, isLong ? BACKOFF_PATIENTLY_MS : BACKOFF_LONGEST_MS);
    const retryMs = Math.max(BACKOFF_MS, longest * (0.5 + Math.random() / 2));
    if (this.#failures >= TELL_AFTER && error instanceof AudioStreamError) this.#events.problem(error);
    this.#events.state({ state: "waiting", retryMs, offline: !navigator.onLine });
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#connect(), retryMs);
  }

  /** Pings when nothing was sent for a while. */
  #watch(link: Link): void {
    const due = link.usedAt + PING_MS - performance.now();
    if (due <= 0) this.#ping(link);
    link.timers[1] = setTimeout(() => this.#watch(link), due > 0 ? due : PING_MS);
  }

  #ping(link: Link): void {
    if (link.pong !== undefined) return;
    link.socket.send('{"action":"ping"}');
    link.usedAt = performance.now();
    link.pong = setTimeout(() => this.#ended(link), PONG_MS);
  }
}
