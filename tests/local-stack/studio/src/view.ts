/** The session view: what the service does with each chunk, and switches that break it. */

import { element, say } from "./page.ts";
import type { Chunk, Line } from "./session.ts";
import { Session } from "./session.ts";

/** How much of the session the timeline shows, and how often it moves. */
const SHOWN_MS = 60_000;
const DRAW_MS = 500;
const CHUNKS = 12;
const FRAGMENTS = 6;
/** The ledger reads the whole stream: no more often than this. */
const COUNT_MS = 10_000;

const SVG = "http://www.w3.org/2000/svg";

interface Ledger {
  time: { audioMs: number; pauseMs: number; gapMs: number; unknownMs: number; overlapMs: number };
}

interface Redriven {
  moved?: { moved: number };
  readBack?: { gaps: { closed: boolean }[] };
}

export class View {
  #session: string;
  #model = new Session();
  #events: EventSource | undefined;
  #changed = false;
  #countedAt = -Infinity;
  #uncounted = true;

  constructor(session: string) {
    this.#session = session;
    const details = element<HTMLDetailsElement>("view");
    details.addEventListener("toggle", () => (details.open ? this.#open() : this.#close()));
    setInterval(() => this.#events && this.#draw(), DRAW_MS);
    const act = (id: string, done: string, what: () => object) =>
      element(id).addEventListener("click", () => void this.#act(what()).then((did) => did && say(done)));
    act("drop", "The network is away for 5 s.", () => ({ what: "dropSocket", seconds: 5 }));
    act("kill", "A worker was killed.", () => ({ what: "killWorker" }));
    act("dynamodb", "DynamoDB is away for 5 s.", () => ({ what: "takeDynamoDb", seconds: 5 }));
    act("refuse", "The next fragment will be refused.", () => ({
      what: "refusePutMedia",
      error: Number(element<HTMLSelectElement>("error").value),
    }));
    element("redrive").addEventListener("click", () => void this.#redrive());
    element("count").addEventListener("click", () => void this.#count());
  }

  #open(): void {
    this.#events = new EventSource(`events?session=${encodeURIComponent(this.#session)}`);
    this.#events.onopen = () => (this.#model = new Session()); // all of it comes again
    this.#events.onmessage = ({ data }) => {
      const line = JSON.parse(String(data)) as Line;
      this.#model.take(line);
      this.#changed = true;
      if (line.event === "fragmentWritten") this.#uncounted = true;
    };
  }

  #close(): void {
    this.#events?.close();
    this.#events = undefined;
  }

  async #act<T>(what: object): Promise<T | undefined> {
    const response = await fetch("act", { method: "POST", body: JSON.stringify({ session: this.#session, ...what }) }).catch(() => undefined);
    if (response?.ok) return (await response.json()) as T;
    say(response ? await response.text() : "The local stack does not answer.");
    return undefined;
  }

  async #redrive(): Promise<void> {
    const button = element<HTMLButtonElement>("redrive");
    button.disabled = true;
    say("Sending the parked chunks again.");
    const did = await this.#act<Redriven>({ what: "redrive" });
    button.disabled = false;
    const gaps = did?.readBack?.gaps ?? [];
    if (did) say(`${did.moved?.moved ?? 0} chunks were sent again, ${gaps.filter(({ closed }) => closed).length} of ${gaps.length} gaps are closed.`);
  }

  async #count(): Promise<void> {
    this.#uncounted = false;
    this.#countedAt = performance.now();
    const ledger = await this.#act<Ledger>({ what: "ledger" });
    if (!ledger) return;
    const { audioMs, pauseMs, gapMs, unknownMs, overlapMs } = ledger.time;
    const ms = (n: number) => `${n.toLocaleString("en")} ms`;
    const text = `${ms(audioMs)} of sound, ${ms(pauseMs)} of pauses, ${ms(gapMs)} in gaps, ${ms(unknownMs)} unknown, ${ms(overlapMs)} of fragments that overlap.`;
    element("ledger").textContent = text;
  }

  #draw(): void {
    this.#timeline();
    if (this.#uncounted && performance.now() - this.#countedAt > COUNT_MS && this.#model.fragments.length) void this.#count();
    if (!this.#changed) return;
    this.#changed = false;
    const { chunks, fragments, holes } = this.#model;
    rows("chunks", chunks.slice(-CHUNKS).reverse().map(chunkRow));
    rows("fragments", fragments.slice(-FRAGMENTS).reverse().map(({ number, at, ms, first, last, ageMs, backfill }) =>
      [`…${number.slice(-6)}`, clock(at), `${first} to ${last}`, `${(ms / 1_000).toFixed(2)} s`, `${ageMs} ms`, backfill ? "a gap, filled" : "live"]));
    const open = holes.filter(({ state }) => state !== "closed");
    element("holes").replaceChildren(
      ...open.map(({ first, last, state, why }) => {
        const item = document.createElement("li");
        item.textContent = `Chunks ${first} to ${last} are ${state === "open" ? "missing" : state}: ${why}`;
        return item;
      }),
    );
    element("holes-row").hidden = open.length === 0;
  }

  #timeline(): void {
    const now = Date.now();
    const marks: SVGElement[] = [];
    const mark = (lane: number, from: number, to: number, kind: string, words: string) => {
      const x = 100 * (1 - (now - from) / SHOWN_MS);
      const width = Math.max(0.2, (100 * (to - from)) / SHOWN_MS - 0.15);
      if (x + width < 0) return;
      const rect = document.createElementNS(SVG, "rect");
      for (const [name, value] of Object.entries({ x, y: lane * 12 + 1, width, height: 10, class: kind })) rect.setAttribute(name, String(value));
      const title = document.createElementNS(SVG, "title");
      title.textContent = words;
      rect.append(title);
      marks.push(rect);
    };
    for (const { index, from, at, state } of this.#model.chunks) mark(0, from, at, state, `chunk ${index}: ${state}`);
    for (const { at, ms, first, last, backfill } of this.#model.fragments)
      mark(1, at, at + ms, backfill ? "backfill" : "persisted", `fragment of chunks ${first} to ${last}`);
    for (const { first, last, from, to, state } of this.#model.holes)
      if (from && to) mark(2, from, to, state === "closed" ? "backfill" : "parked", `chunks ${first} to ${last}: ${state}`);
    element("timeline").replaceChildren(...marks);
  }
}

function chunkRow({ index, at, sent, times, queued, deferred, written, persisted, state, why }: Chunk): string[] {
  const after = (moment: number | undefined) => (moment === undefined ? "" : `+${moment - at} ms`);
  const fate = state === "persisted" ? state : `${state}${why ? `: ${why}` : ""}`;
  return [String(index), clock(at), after(sent) + (times > 1 ? ` ×${times}` : ""), after(queued), deferred ? `×${deferred}` : "", after(written), after(persisted), fate];
}

function clock(ms: number): string {
  const date = new Date(ms);
  return `${date.toLocaleTimeString("en-GB")}.${Math.floor(date.getMilliseconds() / 100)}`;
}

function rows(id: string, cells: string[][]): void {
  element(id).replaceChildren(
    ...cells.map((texts) => {
      const row = document.createElement("tr");
      row.append(...texts.map((text, i) => Object.assign(document.createElement(i ? "td" : "th"), { textContent: text, ...(i ? {} : { scope: "row" }) })));
      return row;
    }),
  );
}
