/** Which chunk is sent next, and what has become of those that were. No timers and no sockets: the time is an argument. */

import type { Chunk } from "./chunk.ts";
import { duration } from "./chunk.ts";
import type { SessionStatus } from "./status.ts";
import { fate } from "./status.ts";
import type { Totals } from "./store.ts";

/** Chunks sent and not acknowledged yet. Fewer than the ten records that the writer sees at once, so that it can put them in order. */
const IN_FLIGHT = 8;
/** Bytes of them, so that on a slow line an acknowledgement does not wait behind seconds of other chunks. One may be larger. */
const IN_FLIGHT_BYTES = 64 * 1024;
/** What was buffered goes out no faster than 40 a second. */
const PACE_MS = 25;
/** First wait after the service asked for a chunk again; doubles. */
const RETRY_MS = 250;
/** Nothing overtakes a chunk that was refused so often: the writer waits about as long for it. From then on it may be to blame itself. */
const PATIENCE = 4;

interface Entry {
  readonly chunk: Chunk;
  /** On its way: sent, and neither acknowledged nor given up. */
  flying: boolean;
  /** The link that it was last sent on; 0: none, or that one is gone. */
  via: number;
  sentAt: number;
  /** Times sent on this link. */
  tries: number;
  notBefore: number;
}

/**
 * The session's sound by where it is, in ms, as far as this browser recorded it: earlier loads of the page count, for a day. Every
 * chunk is in exactly one of the four.
 */
export interface Counts {
  /** Not acknowledged: only this browser has it. */
  waiting: number;
  /** Acknowledged: the queue has it. */
  sent: number;
  /** In the stream. */
  stored: number;
  /** Refused, parked, or still missing in the stream. */
  missing: number;
}

/** The send window. */
export class SendWindow {
  #queue: Entry[] = [];
  #sent: Chunk[] = [];
  #nextAt = 0;
  #storedMs = 0;
  #refusedMs = 0;
  #missing = new Set<Chunk>();

  /** Takes a chunk; those of an earlier page must come before those of a later one. */
  add(chunk: Chunk): void {
    this.#queue.push({ chunk, flying: false, via: 0, sentAt: 0, tries: 0, notBefore: 0 });
  }

  /** Takes over what earlier loads of the page had sent, and what became of the rest. */
  takeOver(sent: Chunk[], { stored, refused }: Totals): void {
    this.#sent.unshift(...sent);
    this.#storedMs += stored;
    this.#refusedMs += refused;
  }

  /** Nothing waits for its acknowledgement. */
  get drained(): boolean {
    return this.#queue.length === 0;
  }

  /** Acknowledged chunks whose fate is open, parked ones not counted. */
  get unsettled(): number {
    return this.#sent.length - this.#missing.size;
  }

  /** Acknowledged chunks that are not in the stream. */
  get unstored(): number {
    return this.#sent.length;
  }

  /** Chunks that are not acknowledged, oldest first. */
  get waiting(): readonly Chunk[] {
    return this.#queue.map((entry) => entry.chunk);
  }

  /** Those of them that are not on their way. */
  get unsent(): readonly Chunk[] {
    return this.#queue.filter((entry) => !entry.flying).map((entry) => entry.chunk);
  }

  /** How many are on their way over this link. */
  inFlight(via: number): number {
    return this.#queue.filter((entry) => entry.flying && entry.via === via).length;
  }

  /**
   * The chunk to send now, or how long to wait for the next; `undefined`: until something happens.
   * A page's chunks wait until all of the page before it are acknowledged, so that no chunk overtakes an earlier page's.
   */
  next(now: number): Chunk | number | undefined {
    const page = this.#queue[0]?.chunk.page;
    const oldest = this.#queue.slice(0, IN_FLIGHT); // who was asked for again keeps its place among them
    const bytes = oldest.reduce((sum, { flying, chunk }) => (flying ? sum + chunk.size : sum), 0);
    let wait: number | undefined;
    for (const entry of oldest) {
      if (entry.chunk.page !== page) break;
      if (entry.flying) continue;
      if (bytes && bytes + entry.chunk.size > IN_FLIGHT_BYTES) break;
      const due = Math.max(entry.notBefore, this.#nextAt) - now;
      if (due <= 0) return entry.chunk;
      wait = Math.min(wait ?? due, due);
      if (entry.tries <= PATIENCE) break;
    }
    return wait;
  }

  /** The chunk was written to this link. */
  sentOn(via: number, chunk: Chunk, now: number): void {
    const entry = this.#entry(chunk.index, chunk.at);
    if (!entry) return;
    entry.tries = entry.via === via ? entry.tries + 1 : 1;
    entry.via = via;
    entry.flying = true;
    entry.sentAt = now;
    this.#nextAt = now + PACE_MS;
  }

  /** The queue has it. Returns the chunk, unless that was known. A foreign server may leave the time out. */
  ack(index: number, at?: number): Chunk | undefined {
    const entry = this.#take(index, at);
    if (entry) this.#sent.push(entry.chunk);
    return entry?.chunk;
  }

  /** The service will never take it. */
  refuse(index: number, at?: number): Chunk | undefined {
    const entry = this.#take(index, at);
    if (entry) this.#refusedMs += entry.chunk.ms;
    return entry?.chunk;
  }

  /** What is on its way on this link is sent again, a little later: the chunk of this index, or all of it where nobody says which. */
  retry(via: number, now: number, index?: number): void {
    for (const entry of this.#queue) {
      if (!entry.flying || entry.via !== via || entry.chunk.index !== (index ?? entry.chunk.index)) continue;
      entry.notBefore = now + RETRY_MS * 2 ** (Math.min(entry.tries, PATIENCE) - 1);
      entry.flying = false;
    }
  }

  /** The link is gone: what was on its way may or may not have arrived, and is sent again. */
  lost(via: number): void {
    for (const entry of this.#queue) {
      if (entry.via !== via) continue;
      entry.flying = false;
      entry.via = 0;
    }
  }

  /** A chunk whose acknowledgement takes longer than `ms`: which link it is on, and how often it was sent there. */
  overdue(now: number, ms: number): { chunk: Chunk; via: number; tries: number } | undefined {
    return this.#queue.find((entry) => entry.flying && now - entry.sentAt >= ms);
  }

  /** Settles what the session's status tells of. Returns what has become known to be stored. */
  settle(status: SessionStatus): Chunk[] {
    this.#missing.clear();
    const stored: Chunk[] = [];
    this.#sent = this.#sent.filter((chunk) => {
      const what = fate(status, chunk);
      if (what === "missing") this.#missing.add(chunk);
      if (what === "stored") stored.push(chunk);
      return what !== "stored";
    });
    this.#storedMs += duration(stored);
    return stored;
  }

  /** Where the sound is. */
  get counts(): Counts {
    const missing = duration(this.#missing);
    return {
      waiting: duration(this.waiting),
      sent: duration(this.#sent) - missing,
      stored: this.#storedMs,
      missing: missing + this.#refusedMs,
    };
  }

  #entry(index: number, at?: number): Entry | undefined {
    // The oldest page's first: a later page's chunks are not sent before.
    return this.#queue.find(({ chunk }) => chunk.index === index && (at === undefined || chunk.at === at));
  }

  #take(index: number, at?: number): Entry | undefined {
    const entry = this.#entry(index, at);
    if (entry) this.#queue.splice(this.#queue.indexOf(entry), 1);
    return entry;
  }
}
