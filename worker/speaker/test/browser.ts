/** A browser for tests: its clock, its events, its disk. Time passes only in `tick`. */

import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";

interface Timer {
  id: number;
  at: number;
  every: number | undefined;
  run(): void;
}

const immediate = setImmediate;
/** An arbitrary moment. */
export const BEGIN = 1_795_335_000_000;

export class Browser {
  now = 0;
  /** By how much its clock was set. */
  setMs = 0;
  /** Errors that a real browser would show in its console. */
  errors: unknown[] = [];
  #timers: Timer[] = [];
  #ids = 0;
  #window = new EventTarget();
  #document = new EventTarget();
  /** By name: what its holder's successor waits for. */
  #locks = new Map<string, (() => void)[]>();
  onLine = true;
  userAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";
  visibilityState = "visible";
  mediaDevices: unknown;
  wakeLocks = 0;
  sentinel: { released: boolean; onrelease: (() => void) | null; release(): Promise<void> } | undefined;

  constructor() {
    const set = (every: boolean) => (run: () => void, ms = 0) => {
      const id = ++this.#ids;
      this.#timers.push({ id, at: this.now + ms, every: every ? ms : undefined, run });
      return id;
    };
    const clear = (id: number) => {
      this.#timers = this.#timers.filter((timer) => timer.id !== id);
    };
    const browser = this;
    define({
      setTimeout: set(false),
      setInterval: set(true),
      clearTimeout: clear,
      clearInterval: clear,
      performance: { now: () => this.now },
      indexedDB: new IDBFactory(),
      addEventListener: this.#window.addEventListener.bind(this.#window),
      removeEventListener: this.#window.removeEventListener.bind(this.#window),
      document: Object.defineProperty(this.#document, "visibilityState", { get: () => browser.visibilityState }),
      navigator: {
        get onLine() {
          return browser.onLine;
        },
        get userAgent() {
          return browser.userAgent;
        },
        get mediaDevices() {
          return browser.mediaDevices;
        },
        locks: { request: this.#request },
        wakeLock: { request: this.#wakeLock },
      },
    });
    Date.now = () => BEGIN + this.now + this.setMs;
  }

  /** Lets time pass, and everything that is due in it. */
  async tick(ms: number): Promise<void> {
    const until = this.now + ms;
    await this.settle();
    for (;;) {
      const due = this.#timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at || a.id - b.id)[0];
      if (!due) break;
      this.now = Math.max(this.now, due.at);
      if (due.every === undefined) this.#timers.splice(this.#timers.indexOf(due), 1);
      else due.at += due.every;
      try {
        due.run();
      } catch (error) {
        this.errors.push(error);
      }
      await this.settle();
    }
    this.now = until;
  }

  /** Lets everything happen that needs no time. */
  async settle(): Promise<void> {
    for (let i = 0; i < 12; i++) await new Promise((resolve) => immediate(resolve));
  }

  /** Waits for a promise, second by second. */
  async until<T>(promise: Promise<T>, seconds = 600): Promise<T> {
    let over = false;
    const done = promise.finally(() => (over = true));
    done.catch(() => {});
    await this.settle();
    for (let s = 0; !over && s < seconds; s++) await this.tick(1_000);
    if (!over) throw new Error(`nothing came of it in ${seconds} s`);
    return done;
  }

  event(type: string, fields: object = {}): void {
    this.#window.dispatchEvent(Object.assign(new Event(type), fields));
  }

  online(onLine: boolean): void {
    this.onLine = onLine;
    this.event(onLine ? "online" : "offline");
  }

  show(visible: boolean): void {
    this.visibilityState = visible ? "visible" : "hidden";
    if (!visible) void this.sentinel?.release();
    this.#document.dispatchEvent(new Event("visibilitychange"));
  }

  /** The document is gone: its timers and locks with it. The disk stays. */
  reload(): void {
    this.#timers = [];
    this.#locks.clear();
    this.#window = new EventTarget();
    this.#document = Object.assign(new EventTarget(), { visibilityState: "visible" });
    define({
      addEventListener: this.#window.addEventListener.bind(this.#window),
      removeEventListener: this.#window.removeEventListener.bind(this.#window),
      document: this.#document,
    });
  }

  get locks(): string[] {
    return [...this.#locks.keys()];
  }

  /** Another document holds this lock. */
  lock(name: string): void {
    this.#locks.set(name, []);
  }

  /** And lets it go. */
  unlock(name: string): void {
    const [next, ...others] = this.#locks.get(name) ?? [];
    if (next) this.#locks.set(name, others);
    else this.#locks.delete(name);
    next?.();
  }

  #request = async (name: string, { signal }: { signal: AbortSignal }, callback: () => unknown): Promise<void> => {
    const waiting = this.#locks.get(name);
    if (!waiting) this.#locks.set(name, []);
    else
      await new Promise<void>((resolve, reject) => {
        waiting.push(resolve);
        signal.addEventListener("abort", () => reject(signal.reason));
      });
    await callback();
    this.unlock(name);
  };

  #wakeLock = async () => {
    if (this.visibilityState === "hidden") throw new DOMException("hidden", "NotAllowedError");
    this.wakeLocks++;
    const sentinel = {
      released: false,
      onrelease: null as (() => void) | null,
      async release() {
        sentinel.released = true;
        sentinel.onrelease?.();
      },
    };
    this.sentinel = sentinel;
    return sentinel;
  };
}

function define(globals: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
}

/** Numbers between 0 and 1 that a seed repeats. */
export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
