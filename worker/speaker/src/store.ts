/** Chunks that are not acknowledged yet, on disk: a reload, a crash or a closed lid loses none of them. */

import type { Chunk } from "./chunk.ts";

const DATABASE = "kvs-speaker";
const CHUNKS = "chunks";
/** What nobody came back for is not kept on a computer that others may use. */
const KEEP_MS = 24 * 3_600_000;

/** What is stored of a chunk, by session, page and index. */
interface Row {
  session: string;
  page: string;
  index: number;
  chunk: Chunk;
}

/** One session's part of the database, as this page load sees it. */
export class ChunkStore {
  #database: IDBDatabase;
  #session: string;
  #page: string;

  private constructor(database: IDBDatabase, session: string, page: string) {
    this.#database = database;
    this.#session = session;
    this.#page = page;
  }

  /** A new page's name: when it was loaded, and what no other page has. Names sort by time. */
  static page(): string {
    return `${Date.now().toString(36).padStart(9, "0")}-${Math.random().toString(36).slice(2, 10)}`;
  }

  /** Fails where the browser keeps nothing, as some do in private windows. */
  static async open(session: string, page: string): Promise<ChunkStore> {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(CHUNKS, { keyPath: ["session", "page", "index"] });
    };
    const database = await done(request);
    database.onversionchange = () => database.close(); // a later version wants to change it
    void hold(page);
    const store = new ChunkStore(database, session, page);
    await store.#forgetOld();
    return store;
  }

  /** Chunks of this session that earlier pages left behind, in order. Those of a page that is still open are its own. */
  async left(): Promise<Chunk[]> {
    const chunks: Chunk[] = [];
    const free = new Map([[this.#page, false]]);
    for (const { page, chunk } of await done(this.#read().getAll(this.#range()) as IDBRequest<Row[]>)) {
      if (!free.has(page)) free.set(page, await hold(page));
      if (free.get(page)) chunks.push(chunk);
    }
    return chunks;
  }

  /** Keeps a chunk. Kept before it is sent. */
  async put(chunk: Chunk): Promise<void> {
    const row: Row = { session: this.#session, page: chunk.page, index: chunk.index, chunk };
    await done(this.#write().put(row));
  }

  async bytes({ page, index }: Chunk): Promise<Uint8Array | undefined> {
    const row: Row | undefined = await done(this.#read().get([this.#session, page, index]));
    return row?.chunk.bytes;
  }

  async remove({ page, index }: Chunk): Promise<void> {
    await done(this.#write().delete([this.#session, page, index]));
  }

  close(): void {
    this.#database.close();
  }

  async #forgetOld(): Promise<void> {
    const keys = (await done(this.#read().getAllKeys())) as [string, string, number][];
    const old = keys.filter(([, page]) => parseInt(page, 36) < Date.now() - KEEP_MS);
    if (!old.length) return;
    const chunks = this.#write();
    await Promise.all(old.map((key) => done(chunks.delete(key))));
  }

  #range(): IDBKeyRange {
    return IDBKeyRange.bound([this.#session], [this.#session, []]);
  }

  #read(): IDBObjectStore {
    return this.#database.transaction(CHUNKS).objectStore(CHUNKS);
  }

  #write(): IDBObjectStore {
    return this.#database.transaction(CHUNKS, "readwrite", { durability: "relaxed" }).objectStore(CHUNKS);
  }
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    if (request instanceof IDBOpenDBRequest) request.onblocked = () => reject(new Error("the database is in use"));
  });
}

/**
 * Holds a page's lock for as long as this document lives; false: another document holds it. Where there are no locks
 * two pages may send the same chunks, which the queue takes once.
 */
async function hold(page: string): Promise<boolean> {
  if (!navigator.locks) return true;
  return new Promise((resolve) => {
    void navigator.locks.request(`${DATABASE} ${page}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock && new Promise<never>(() => {});
    });
  });
}
