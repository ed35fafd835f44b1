/** From a recorded blob to the stream: numbered, kept on disk, sent, acknowledged, stored. */

import type { Chunk, Format } from "./chunk.ts";
import { message, pieces } from "./chunk.ts";
import type { ErrorCode } from "./errors.ts";
import { AudioStreamError, isForGood } from "./errors.ts";
import type { ConnectionState } from "./socket.ts";
import { Connection } from "./socket.ts";
import type { SessionStatus } from "./status.ts";
import { ChunkStore } from "./store.ts";
import type { Token } from "./token.ts";
import { TokenSource } from "./token.ts";
import type { Counts } from "./window.ts";
import { SendWindow } from "./window.ts";

export interface SenderOptions {
  url: string;
  session: string;
  token?: () => Promise<Token>;
  /** How often the service is asked how much is stored, ms; 0: only by `finish`. */
  statusEvery?: number;
  /** The most that waits in this browser, bytes. */
  bufferLimit?: number;
}

export interface SenderEvents {
  counts(counts: Counts): void;
  status(status: SessionStatus): void;
  connection(state: ConnectionState): void;
  problem(error: AudioStreamError): void;
  solved(code: ErrorCode): void;
  /** Whether there is room for more. */
  room(room: boolean): void;
}

/** API Gateway's own words where a function failed, with connectionId and requestId; they name no chunk. */
const GATEWAY_ERROR = "Internal server error";
const BUFFER_LIMIT = 64 * 1024 * 1024;
/** Beyond it, what waits is only on disk. */
const MEMORY = 4 * 1024 * 1024;
/** The browser holds more than this: the network takes nothing at the moment. */
const SOCKET_BYTES = 128 * 1024;
const SOCKET_WAIT_MS = 100;
/** What a page that goes away may still push into its socket. */
const LEAVE_BYTES = 1024 * 1024;

const LOOK_MS = 1_000;
/** An acknowledgement takes so long: is anybody there? */
const DOUBT_MS = 5_000;
/** So long: it is lost, or its chunk is. */
const LOST_MS = 10_000;
/** A link on which a chunk was lost so often is given up. */
const TRIES = 2;

const STATUS_MS = 10_000;
const STATUS_SOON_MS = 1_000;
/** `finish` waits so long for the next chunk to be stored. The queue has them all by then. */
const SETTLE_MS = 60_000;
/** For a page that is not looked at, and for chunks that wait for an operator. */
const STATUS_SELDOM_MS = 30_000;

/** Codes that are about the chunk itself: sending it again would not help. */
const CHUNK_AT_FAULT =
  "BAD_BASE64 AUDIO_TOO_LARGE BODY_TOO_LARGE HALF_SAMPLE UNSUPPORTED_FORMAT MISSING_FIELD WRONG_TYPE BAD_TIMESTAMP".split(" ");

export class Sender {
  #options: SenderOptions;
  #events: SenderEvents;
  #window = new SendWindow();
  #connection: Connection;
  #store: ChunkStore | undefined;
  #opened: Promise<void> | undefined;
  #page = ChunkStore.page();
  #next = 0;
  /** Blobs are numbered and kept one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Bytes that wait, and those of them in memory. */
  #buffered = 0;
  #memory = 0;
  #full = false;
  /** Stays connected although nothing waits. */
  #speaking = false;
  #finishing = false;
  #refusedAll = false;
  #pumping = false;
  #pumpTimer: ReturnType<typeof setTimeout> | undefined;
  #statusTimer: ReturnType<typeof setTimeout> | undefined;
  #lookTimer: ReturnType<typeof setInterval> | undefined;
  #end: { sentAt: number; acked: boolean } | undefined;
  #waiters: [() => boolean, () => void][] = [];

  constructor(options: SenderOptions, events: SenderEvents) {
    this.#options = options;
    this.#events = events;
    this.#connection = new Connection(options.url, options.token && new TokenSource(options.token), {
      open: () => {
        events.solved("NOT_CONNECTED");
        events.solved("TOKEN_FAILED");
        if (this.#end) this.#end.sentAt = -Infinity;
        this.#look();
      },
      lost: (link) => {
        this.#window.lost(link);
        this.#changed();
      },
      message: (link, heard) => this.#heard(link, heard),
      state: events.connection,
      problem: events.problem,
    });
  }

  get counts(): Counts {
    return this.#window.counts;
  }

  /** Finds what earlier loads of the page left unsent, and sends it. */
  open(): Promise<void> {
    return (this.#opened ??= this.#open());
  }

  /** Connects, and stays connected. */
  async speak(): Promise<void> {
    this.#speaking = true;
    this.#refusedAll = false; // it starts again, and takes over
    await this.open();
    this.#connect();
  }

  /** Takes a recorded blob. */
  add(blob: Blob | ArrayBuffer, format: Format, at: number, ms: number): void {
    const turn = this.#turn.then(async () => {
      await this.open(); // what an earlier page left comes first
      const bytes = new Uint8Array(blob instanceof Blob ? await blob.arrayBuffer() : blob);
      const page = this.#page;
      const chunks = Array.from(pieces(bytes, ms), (piece) => ({ ...piece, page, index: this.#next++, at, format, size: piece.bytes.length }));
      const isKept = await this.#keep(chunks); // before it is sent: what is neither acknowledged nor on disk is lost with the page
      for (const chunk of chunks) this.#take(chunk, isKept);
      this.#changed();
    });
    this.#turn = turn.catch((cause) => this.#events.problem(new AudioStreamError("RECORDER_FAILED", { cause })));
  }

  /** Sends what waits, ends the stream, and waits until all of it is stored or known to be missing. */
  async finish(): Promise<Counts> {
    await this.open();
    await this.#turn;
    if (!this.#refusedAll) {
      this.#finishing = true;
      if (this.#next || !this.#window.drained) this.#connect();
      await this.#until(() => this.#window.drained);
      if (this.#next) {
        const end = (this.#end = { sentAt: -Infinity, acked: false });
        this.#look();
        await this.#until(() => end.acked);
      }
      this.#changed();
      await this.#settled();
    }
    this.close();
    this.#store?.close();
    return this.counts;
  }

  /** Goes on sending what waits, and then no longer stays connected. */
  rest(): void {
    this.#speaking = false;
    this.#changed();
  }

  /** The service takes nothing of this session any more. What waits stays on disk for a day. */
  abandon(): void {
    this.#refusedAll = true;
    this.close();
    this.#changed();
  }

  /** The page goes away: what waits goes into the socket at once. What does not arrive is on disk. */
  leave(): void {
    const now = performance.now();
    let bytes = 0;
    for (const chunk of this.#window.unsent) {
      if (!chunk.bytes || (bytes += chunk.size) > LEAVE_BYTES) continue;
      const link = this.#connection.send(message(chunk, chunk.bytes));
      if (link) this.#window.sentOn(link, chunk, now);
    }
    this.#connection.send(JSON.stringify({ action: "endStream" }));
  }

  /** After a sleep: is the connection still there, and is anything due? */
  wake(): void {
    this.#connection.check();
    this.#look();
  }

  /** Ends without waiting for anything. What waits stays on disk. */
  close(): void {
    this.#speaking = this.#finishing = false;
    this.#connection.close();
    clearTimeout(this.#pumpTimer);
    clearTimeout(this.#statusTimer);
    clearInterval(this.#lookTimer);
    this.#statusTimer = this.#lookTimer = undefined;
  }

  async #open(): Promise<void> {
    try {
      this.#store = await ChunkStore.open(this.#options.session, this.#page);
      const { waiting, sent, totals, isShared } = await this.#store.left();
      this.#window.takeOver(sent, totals);
      for (const chunk of waiting) this.#take(chunk, true);
      if (this.#window.unstored + waiting.length && !isShared) this.#connect(); // it would end another page's speech
    } catch (cause) {
      this.#events.problem(new AudioStreamError("NO_STORAGE", { cause }));
    }
    this.#changed();
  }

  #connect(): void {
    this.#connection.open();
    this.#lookTimer ??= setInterval(() => this.#look(), LOOK_MS);
  }

  /** Whether the disk has them. A full disk has room again when some of it was sent. */
  async #keep(chunks: Chunk[]): Promise<boolean> {
    try {
      await this.#store?.put(...chunks);
      if (this.#store) this.#events.solved("NO_STORAGE");
      return this.#store !== undefined;
    } catch (cause) {
      this.#events.problem(new AudioStreamError("NO_STORAGE", { cause }));
      return false;
    }
  }

  #take(chunk: Chunk, isKept: boolean): void {
    this.#window.add(chunk);
    this.#buffered += chunk.size;
    if (isKept && this.#memory + chunk.size > MEMORY) chunk.bytes = undefined;
    else this.#memory += chunk.size;
    this.#measure();
  }

  /** Acknowledged or refused: its bytes are no longer needed. */
  #drop(chunk: Chunk | undefined, isRefused = false): void {
    if (!chunk) return;
    this.#free(chunk);
    const kept = isRefused ? this.#store?.settle([chunk], "refused") : this.#store?.put(chunk);
    kept?.catch(() => {}); // at worst it is sent once more, and taken only once
  }

  #free(chunk: Chunk): void {
    this.#buffered -= chunk.size;
    if (chunk.bytes) this.#memory -= chunk.size;
    chunk.bytes = undefined;
    this.#measure();
    this.#changed();
  }

  #measure(): void {
    const limit = this.#options.bufferLimit ?? BUFFER_LIMIT;
    const full = this.#buffered >= (this.#full ? limit / 2 : limit);
    if (full !== this.#full) this.#events.room(!(this.#full = full));
  }

  #changed(): void {
    this.#events.counts(this.counts);
    for (const waiter of [...this.#waiters]) {
      if (!waiter[0]()) continue;
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
      waiter[1]();
    }
    void this.#pump();
    this.#planStatus();
    const idle = this.#window.drained && this.#window.unsettled === 0;
    if (idle && !this.#speaking && !this.#finishing) this.close();
  }

  /** Until then, or until nothing more will come of it. */
  #until(condition: () => boolean): Promise<void> {
    const isOver = () => this.#refusedAll || condition();
    return isOver() ? Promise.resolve() : new Promise((resolve) => this.#waiters.push([isOver, resolve]));
  }

  /** Everything is stored or missing, or nothing more becomes known. */
  async #settled(): Promise<void> {
    for (let before = Infinity; this.#window.unsettled && this.#window.unsettled < before; ) {
      before = this.#window.unsettled;
      const patience = new Promise<void>((resolve) => setTimeout(resolve, SETTLE_MS));
      await Promise.race([this.#until(() => this.#window.unsettled < before), patience]);
    }
  }

  /** Sends what may be sent. One at a time: a chunk's bytes may have to come from disk. */
  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    clearTimeout(this.#pumpTimer);
    try {
      while (this.#connection.link) {
        const isBusy = this.#connection.buffered > SOCKET_BYTES;
        const next = isBusy ? SOCKET_WAIT_MS : this.#window.next(performance.now());
        if (next === undefined) break;
        if (typeof next === "number") {
          this.#pumpTimer = setTimeout(() => void this.#pump(), next);
          break;
        }
        await this.#send(next);
      }
    } finally {
      this.#pumping = false;
    }
  }

  async #send(chunk: Chunk): Promise<void> {
    const bytes = chunk.bytes ?? (await this.#store?.bytes(chunk).catch(() => undefined));
    if (!bytes) {
      this.#window.refuse(chunk.index, chunk.at);
      this.#events.problem(new AudioStreamError("NO_STORAGE")); // it was only on disk; the next load of the page may read it
      return this.#free(chunk);
    }
    const link = this.#connection.send(message(chunk, bytes));
    if (link) this.#window.sentOn(link, chunk, performance.now());
  }

  /** Once a second: what takes too long? */
  #look(): void {
    const now = performance.now();
    const overdue = this.#window.overdue(now, LOST_MS);
    if (overdue && overdue.tries >= TRIES) this.#connection.drop(overdue.via);
    else if (overdue) this.#window.retry(overdue.via, now, overdue.chunk.index);
    else if (this.#window.overdue(now, DOUBT_MS)) this.#connection.check();
    const end = this.#end;
    if (end && !end.acked && now - end.sentAt >= LOST_MS) {
      const sent = this.#connection.send(JSON.stringify({ action: "endStream", chunkIndex: this.#next - 1, ack: true }));
      if (sent) end.sentAt = now;
    }
    void this.#pump();
  }

  #heard(link: number, heard: Record<string, unknown>): void {
    const index = (heard.chunkIndex ?? undefined) as number | undefined; // some servers say null
    if (heard.type === "ack" && heard.action === "endStream" && this.#end) {
      this.#end.acked = true;
    } else if (heard.type === "ack" && index !== undefined) {
      this.#events.solved("SERVICE_FAILED");
      this.#drop(this.#window.ack(index, (heard.timestamp ?? undefined) as number | undefined));
    } else if (heard.type === "status") {
      this.#status(heard as unknown as SessionStatus);
    } else if (heard.type === "error") {
      this.#refused(link, heard.code as string, index, heard);
    } else if (heard.message === GATEWAY_ERROR) {
      this.#window.retry(link, performance.now());
    }
    if (this.#window.inFlight(link) === 0) this.#connection.done(link);
    this.#changed();
  }

  #refused(link: number, code: string, index: number | undefined, cause: unknown): void {
    const byOwn = code === "REPLACED" && this.#connection.isReplacedByOwn(link);
    if (byOwn || code === "RETRY" || code === "TOO_MANY_MESSAGES") {
      this.#window.retry(link, performance.now(), index);
    } else if (index !== undefined && CHUNK_AT_FAULT.includes(code)) {
      this.#drop(this.#window.refuse(index), true);
      this.#events.problem(new AudioStreamError("CHUNK_REFUSED", { cause }));
    } else if (isForGood(code)) {
      this.#events.problem(new AudioStreamError(code, { fatal: true, cause }));
    } else {
      this.#events.problem(new AudioStreamError("SERVICE_FAILED", { cause }));
    }
  }

  #status(status: SessionStatus): void {
    clearTimeout(this.#statusTimer);
    this.#statusTimer = undefined;
    const stored = this.#window.settle(status);
    if (stored.length) this.#store?.settle(stored, "stored").catch(() => {});
    this.#events.status(status);
    if (status.session === "ended" && this.#speaking && !this.#finishing) this.#events.problem(new AudioStreamError("SESSION_ENDED", { fatal: true }));
  }

  /** Asks how much is stored, as often as somebody wants to know. */
  #planStatus(): void {
    if (this.#statusTimer !== undefined || !this.#window.unstored) return;
    const every = this.#options.statusEvery ?? STATUS_MS;
    if (!every && !this.#finishing) return;
    const seldom = this.#window.unsettled === 0 || document.visibilityState === "hidden";
    const ms = this.#finishing ? STATUS_SOON_MS : seldom ? Math.max(every, STATUS_SELDOM_MS) : every;
    this.#statusTimer = setTimeout(() => {
      this.#statusTimer = undefined;
      this.#connection.send('{"action":"status"}');
      this.#planStatus();
    }, ms);
  }
}
