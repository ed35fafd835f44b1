// Every second of the stream against what was played: lost 0, twice 0, at its true time.

import { find, RATE, unwav } from "./sound.mjs";

const STREAM_RATE = 16_000;
const WINDOW = STREAM_RATE;
const WINDOW_MS = 1_000;
/** Windows overlap by half. */
const STEP = WINDOW / 2;
const LIKENESS_MIN = 0.99;
/** What lies between playing and hearing, and what a start of the player takes: looked for so far. */
const REACH_S = 3;
/** How far the time of a piece may be from where the first one is: a recorder's own delay at its start, rounding, a clock's drift. */
const TIME_MS = 200;
/** Within one run of the recorder nothing may be moved at all. */
const SHIFT_MS = 5;

/**
 * Looks at each window of the stream that no cut touches. `began`: epoch ms when `source` began to play; `cuts`: `[from, to]` epoch ms
 * of everything that a person did to the recording. Returns a table and what is wrong.
 */
export function account({ from, wav }, source, began, cuts) {
  const stream = unwav(wav);
  const [windows, wrong] = [[], []];
  let expected;
  for (let at = 0; at + WINDOW <= stream.length; at += STEP) {
    const ms = from + at / (STREAM_RATE / 1_000);
    if (cuts.some(([start, end]) => ms < end && ms + WINDOW_MS > start)) continue;
    const piece = stream.subarray(at, at + WINDOW);
    const due = ((ms - began) / 1_000) * RATE;
    const guess = expected === undefined ? due : due + expected;
    const reach = (expected === undefined ? REACH_S : 0.4) * RATE;
    const { lag, likeness } = find(piece, source, guess - reach, guess + reach);
    const late = lag - due;
    expected ??= late;
    windows.push({ s: at / STREAM_RATE, likeness, lateMs: (late / RATE) * 1_000, movedMs: ((late - expected) / RATE) * 1_000, ms });
  }
  if (!windows.length) return { windows, wrong: ["the stream has no whole second"], worst: 0 };
  let run = windows[0];
  for (const window of windows) {
    const where = `second ${window.s.toFixed(1)} of the stream`;
    if (window.likeness < LIKENESS_MIN) wrong.push(`${where} is not what was played: correlation ${window.likeness.toFixed(4)}`);
    else if (Math.abs(window.movedMs) > TIME_MS) wrong.push(`${where} is ${window.movedMs.toFixed(0)} ms from its true time`);
    else if (!cuts.some(([start, end]) => run.ms < end && window.ms > start) && Math.abs(window.movedMs - run.movedMs) > SHIFT_MS)
      wrong.push(`${where} has moved by ${(window.movedMs - run.movedMs).toFixed(1)} ms within a run of the recorder`);
    if (cuts.some(([start, end]) => run.ms < end && window.ms > start)) run = window;
  }
  const worst = Math.min(...windows.map(({ likeness }) => likeness));
  const moved = Math.max(...windows.map(({ movedMs }) => Math.abs(movedMs)));
  return { windows, wrong, worst, moved };
}

/** What the operator's ledger says of it. */
export function ledgerFaults({ time, gaps, chunks, parkedElsewhere }) {
  const wrong = [];
  if (time.overlapMs) wrong.push(`${time.overlapMs} ms are in the stream twice`);
  if (time.unknownMs) wrong.push(`${time.unknownMs} ms are missing, and nobody knows why`);
  if (gaps.length) wrong.push(`${gaps.length} open gaps, ${time.gapMs} ms`);
  const kinds = ["parked", "missing", "held", "givenUp", "notInStream", "twice"];
  for (const row of chunks)
    for (const kind of kinds) if (row[kind].length) wrong.push(`page ${row.numbering}, chunks ${kind}: ${JSON.stringify(row[kind])}`);
  if (parkedElsewhere.length) wrong.push(`parked: ${JSON.stringify(parkedElsewhere)}`);
  return wrong;
}
