/** What became of each chunk, as the stack's log lines tell it. No page here: lines in, a picture of the session out. */

/** A log line; only what is read here. Times are epoch ms. */
export interface Line {
  event: string;
  timestampMs: number;
  chunkIndex?: number;
  capturedMs?: number;
  chunkFirst?: number | null;
  chunkLast?: number | null;
  fragmentNumber?: string;
  producerTimestampMs?: number;
  samples?: number;
  persistedAfterMs?: number;
  ageMs?: number;
  backfill?: boolean;
  seconds?: number;
  why?: string;
  reason?: string;
  message?: string;
}

export interface Chunk {
  index: number;
  /** When its sound began and ended, by the page's clock. */
  from: number;
  at: number;
  sent: number;
  times: number;
  queued?: number;
  deferred: number;
  written?: number;
  persisted?: number;
  state: "sent" | "queued" | "deferred" | "persisted" | "parked" | "refused";
  why?: string;
}

export interface Fragment {
  number: string;
  at: number;
  ms: number;
  first: number;
  last: number;
  ageMs: number;
  backfill: boolean;
}

export interface Hole {
  first: number;
  last: number;
  /** When its sound began and ended, by the page's clock; absent where its chunks are not known. */
  from?: number;
  to?: number;
  state: "parked" | "open" | "closed" | "given up";
  why: string;
}

/** More than a page shows. */
const KEPT = 1_000;
/** A chunk's sound is taken to be no longer than this: what lies before it is a pause. */
const LONGEST_MS = 4_000;

export class Session {
  chunks: Chunk[] = [];
  fragments: Fragment[] = [];
  holes: Hole[] = [];
  #dones: Record<string, (line: Line) => void> = {
    chunkSent: (line) => this.#sent(line),
    chunkQueued: ({ chunkIndex, capturedMs, timestampMs }) => {
      const chunk = this.chunks.find(({ index, at }) => index === chunkIndex && (capturedMs === undefined || at === capturedMs));
      if (!chunk || chunk.queued) return;
      chunk.queued = timestampMs;
      if (chunk.state === "sent") chunk.state = "queued";
    },
    chunkRefused: ({ chunkIndex, reason }) => this.#mark(chunkIndex, chunkIndex, "refused", reason),
    deferred: ({ chunkFirst, chunkLast, seconds, why }) => {
      for (const chunk of this.#mark(chunkFirst, chunkLast, "deferred", `${why}, for ${seconds} s`)) chunk.deferred++;
    },
    setAside: ({ chunkFirst, chunkLast }) => this.#mark(chunkFirst, chunkLast, "deferred", "set aside until the chunks before it come"),
    retried: ({ chunkFirst, chunkLast, reason }) => this.#mark(chunkFirst, chunkLast, "deferred", `tried again after ${reason}`),
    givenBack: ({ chunkFirst, chunkLast, reason }) => this.#mark(chunkFirst, chunkLast, "deferred", `given back after ${reason}`),
    fragmentWritten: (line) => this.#written(line),
    parked: ({ chunkFirst, chunkLast, reason, message }) => {
      this.#mark(chunkFirst, chunkLast, "parked", reason);
      this.#hole(chunkFirst, chunkLast, "parked", `${reason}: ${message}`);
    },
    gapOpened: ({ chunkFirst, chunkLast }) => this.#hole(chunkFirst, chunkLast, "open", "gone past without them"),
    gapClosed: ({ chunkFirst, chunkLast }) => this.#close(chunkFirst, chunkLast, "closed"),
    gapGivenUp: ({ chunkFirst, chunkLast }) => this.#close(chunkFirst, chunkLast, "given up"),
  };

  take(line: Line): void {
    this.#dones[line.event]?.(line);
  }

  #sent({ chunkIndex: index, capturedMs: at, timestampMs }: Line): void {
    if (index === undefined || at === undefined) return;
    const known = this.chunks.find((chunk) => chunk.index === index && chunk.at === at);
    if (known) return void known.times++;
    const before = this.chunks.filter((chunk) => chunk.at <= at).at(-1);
    const from = before && at - before.at < LONGEST_MS ? before.at : at - 1_000;
    this.chunks.push({ index, from, at, sent: timestampMs, times: 1, deferred: 0, state: "sent" });
    if (this.chunks.length > KEPT) this.chunks.shift();
  }

  #mark(first: number | null | undefined, last: number | null | undefined, state: Chunk["state"], why?: string): Chunk[] {
    const marked = this.#meant(first, last);
    for (const chunk of marked) {
      chunk.state = state;
      if (why !== undefined) chunk.why = why;
    }
    return marked;
  }

  /** Each load of a page counts from 0, one after the other: of several chunks with an index, the oldest that is not done. */
  #meant(first: number | null | undefined, last: number | null | undefined): Chunk[] {
    const seen = new Set<number>();
    return this.chunks.filter(({ index, persisted }) => {
      const meant = index >= (first ?? Infinity) && index <= (last ?? first ?? -1);
      return meant && !persisted && !seen.has(index) && seen.add(index);
    });
  }

  #written(line: Line): void {
    const { fragmentNumber = "", producerTimestampMs = 0, samples = 0, chunkFirst, chunkLast, ageMs = 0, backfill = false } = line;
    const [first, last] = [chunkFirst ?? 0, chunkLast ?? 0];
    for (const chunk of this.#mark(first, last, "persisted")) {
      chunk.persisted = line.timestampMs;
      chunk.written = line.timestampMs - (line.persistedAfterMs ?? 0);
    }
    this.fragments.push({ number: fragmentNumber, at: producerTimestampMs, ms: samples / 16, first, last, ageMs, backfill });
    if (this.fragments.length > KEPT) this.fragments.shift();
  }

  #hole(first: number | null | undefined, last: number | null | undefined, state: Hole["state"], why: string): void {
    if (first == null || last == null) return;
    const known = this.holes.find((hole) => hole.state !== "closed" && hole.first <= last && hole.last >= first);
    const chunks = this.#meant(first, last);
    const [begin, end] = [chunks[0], chunks.at(-1)];
    const time = begin && end && { from: begin.from, to: end.at };
    if (!known) return void this.holes.push({ first, last, state, why, ...time });
    known.first = Math.min(known.first, first);
    known.last = Math.max(known.last, last);
    if (state === "parked") [known.state, known.why] = [state, why];
  }

  #close(first: number | null | undefined, last: number | null | undefined, state: Hole["state"]): void {
    for (const hole of this.holes) if (hole.first <= (last ?? -1) && hole.last >= (first ?? Infinity)) hole.state = state;
  }
}
