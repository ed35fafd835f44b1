/** What became of each chunk, on disk, with the bytes of those that are not acknowledged yet: a reload, a crash or a closed lid loses none. */

import type { Chunk } from "./chunk.ts";
import { duration } from "./chunk.ts";

const DATABASE = "kvs-speaker";
const CHUNKS = "chunks";
const TOTALS = "totals";
/** What nobody came back for is not kept on a computer that others may use. */
const KEEP_MS = 24 * 3_600_000;
const OPEN_MS = 5_000;
/** A page that is being replaced by its next load may hold its lock for so long. */
const RELOAD_MS = 1_000;

/** What is kept of a chunk, by session, page and index. Without bytes it is acknowledged. */
interface Row {
  session: string;
  page: string;
  index: number;
  chunk: Chunk;
}

/** Sound of chunks that are done with, ms. */
export interface Totals {
  stored: number;
  /** The service will never take it. */
  refused: number;
}

/** What is kept of a session beside its chunks. */
interface Total extends Totals {
  session: string;
  changedAt: number;
}

/** What earlier loads of the page left behind, each in order. */
export interface Left {
  waiting: Chunk[];
  /** Acknowledged, and not known to be stored. */
  sent: Chunk[];
  totals: Totals;
  /** Another page of the session is open, and may be the one that speaks. */
  isShared: boolean;
}

/** One session's part of the database, as this page load sees it. */
export class ChunkStore {
  #database: IDBDatabase;
  #session: string;
  /** Let its locks go. */
  #releases: (() => void)[] = [];

  private constructor(database: IDBDatabase, session: string) {
    this.#database = database;
    this.#session = session;
  }

  /** A new page's name: when it was loaded, and what no other page has. Names sort by time. */
  static page(): string {
    return `${Date.now().toString(36).padStart(9, "0")}-${Math.random().toString(36).slice(2)}`;
  }

  /** Fails where the browser keeps nothing, as some do in private windows. */
  static async open(session: string, page: string): Promise<ChunkStore> {
    const request = indexedDB.open(DATABASE, 2);
    request.onupgradeneeded = ({ oldVersion }) => {
      if (!oldVersion) request.result.createObjectStore(CHUNKS, { keyPath: ["session", "page", "index"] });
      request.result.createObjectStore(TOTALS, { keyPath: "session" });
    };
    const database = await done(request);
    database.onversionchange = () => database.close(); // a later version wants to change it
    const store = new ChunkStore(database, session);
    void store.#hold(page);
    await store.#forgetOld();
    return store;
  }

  /** What earlier pages of this session left behind, asked before this one keeps anything. The chunks of a page that is still open are its own. */
  async left(): Promise<Left> {
    const rows = (await done(this.#read(CHUNKS).getAll(IDBKeyRange.bound([this.#session], [this.#session, []])))) as Row[];
    const pages = [...new Set(rows.map(({ page }) => page))];
    const free = new Map(await Promise.all(pages.map(async (page) => [page, await this.#hold(page)] as const)));
    const chunks = rows.filter(({ page }) => free.get(page)).map(({ chunk }) => chunk);
    const total = (await done(this.#read(TOTALS).get(this.#session))) as Total | undefined;
    return {
      waiting: chunks.filter(({ bytes }) => bytes),
      sent: chunks.filter(({ bytes }) => !bytes),
      totals: total ?? { stored: 0, refused: 0 },
      isShared: [...free.values()].includes(false),
    };
  }

  /** Keeps all of these chunks, or none. Kept before they are sent, and again, without their bytes, when they are acknowledged. */
  async put(...chunks: Chunk[]): Promise<void> {
    const write = this.#write();
    for (const chunk of chunks) {
      const row: Row = { session: this.#session, page: chunk.page, index: chunk.index, chunk };
      write.objectStore(CHUNKS).put(row);
    }
    await new Promise<unknown>((resolve, reject) => {
      write.oncomplete = resolve; // a disk may take it, and be full when it commits
      write.onabort = () => reject(write.error);
    });
  }

  async bytes({ page, index }: Chunk): Promise<Uint8Array | undefined> {
    const row: Row | undefined = await done(this.#read(CHUNKS).get([this.#session, page, index]));
    return row?.chunk.bytes;
  }

  /** These are done with: only their sum is remembered. */
  async settle(chunks: Chunk[], as: keyof Totals): Promise<void> {
    const write = this.#write();
    for (const { page, index } of chunks) write.objectStore(CHUNKS).delete([this.#session, page, index]);
    const totals = write.objectStore(TOTALS);
    const before = (await done(totals.get(this.#session))) as Total | undefined;
    const total: Total = { session: this.#session, stored: 0, refused: 0, ...before, changedAt: Date.now() };
    total[as] += duration(chunks);
    await done(totals.put(total));
  }

  close(): void {
    this.#database.close();
    for (const release of this.#releases) release();
  }

  /**
   * Holds a page's lock for as long as this store is open; false: another one holds it. Where there are no locks two pages may send
   * the same chunks, which the queue takes once.
   */
  #hold(page: string): Promise<boolean> {
    return new Promise((resolve) => {
      if (!navigator.locks) return resolve(true);
      const patience = new AbortController();
      const timer = setTimeout(() => patience.abort(), RELOAD_MS);
      const request = navigator.locks.request(`${DATABASE} ${page}`, { signal: patience.signal }, () => {
        clearTimeout(timer);
        resolve(true);
        return new Promise<void>((release) => this.#releases.push(release));
      });
      request.catch(() => resolve(false));
    });
  }

  async #forgetOld(): Promise<void> {
    const since = Date.now() - KEEP_MS;
    const keys = (await done(this.#read(CHUNKS).getAllKeys())) as [string, string, number][];
    const totals = (await done(this.#read(TOTALS).getAll())) as Total[];
    const write = this.#write();
    const chunks = write.objectStore(CHUNKS);
    for (const key of keys) {
      if (parseInt(key[1], 36) >= since) continue;
      const request = chunks.get(key); // an old page may have spoken only now
      request.onsuccess = () => (request.result as Row).chunk.at < since && chunks.delete(key);
    }
    for (const { session, changedAt } of totals) if (changedAt < since) write.objectStore(TOTALS).delete(session);
  }

  #read(store: string): IDBObjectStore {
    return this.#database.transaction(store).objectStore(store);
  }

  #write(): IDBTransaction {
    return this.#database.transaction([CHUNKS, TOTALS], "readwrite", { durability: "relaxed" });
  }
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    if (!(request instanceof IDBOpenDBRequest)) return;
    request.onblocked = () => reject(new Error("no answer"));
    setTimeout(request.onblocked, OPEN_MS); // some browsers' disks never answer
  });
}
