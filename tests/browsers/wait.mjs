// Waiting for what a real browser does in its own time.

/** How long speech, a pause or an outage lasts. What must come of it is waited for by `until`, never by this. */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Where so many wait for one another. Who is not coming must say so by `arrive`, too. */
export class Meeting {
  #missing;
  #begin;
  #begins = new Promise((resolve) => (this.#begin = resolve));

  constructor(count) {
    this.#missing = count;
  }

  /** Until all are there. */
  arrive() {
    if (--this.#missing === 0) this.#begin();
    return this.#begins;
  }
}

/** Where one waits for the other to be done. */
export class Turns {
  #last = Promise.resolve();

  take(work) {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

/** The first value of `probe` that is not false, null, undefined or ""; fails when there is none within `ms`. */
export async function until(what, ms, probe) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    const value = await probe();
    if (value) return value;
    last = value;
    if (Date.now() >= end) throw new Error(`not within ${ms} ms: ${what}${last === undefined ? "" : ` (${last})`}`);
    await sleep(50);
  }
}
