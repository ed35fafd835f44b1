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
/** How far the time of a piece may be from where the first one is: the writer lets a sample clock drift for 300 ms, and a recorder's start takes a moment. */
const TIME_MS = 350;
/** Within one run of the recorder no sample may be missing, or be there twice. */
const LOST_MS = 1;

/** The next window that a browser stumbled in is so near, as a rule. */
const NEAR_S = 5;
/** A busy machine makes a browser stumble over its microphone; more often than this it is no test. */
const STUMBLES_MAX = 0.15;

/**
 * Looks at each window of the stream that no cut touches. `wav`: all its samples, of the `fragments` of the ledger. `began`: epoch ms when
 * `source` began to play; `cuts`: `[from, to]` epoch ms of everything that a person did to the recording. What differs from what was
 * played is looked for in `recorded()`, the sound that the browser's recorders handed out: a browser that stumbles is not our fault, and
 * is told.
 */
export function account(wav, fragments, source, began, cuts, recorded) {
  const stream = unwav(wav);
  const time = clock(fragments);
  const windows = [];
  let expected;
  for (let at = 0; at + WINDOW <= stream.length; at += STEP) {
    const ms = time(at);
    if (isCut(cuts, ms, time(at + WINDOW - 1))) continue;
    const due = ((ms - began) / 1_000) * RATE;
    const reach = (expected === undefined ? REACH_S : 0.4) * RATE;
    const guess = due + (expected ?? 0);
    const piece = stream.subarray(at, at + WINDOW);
    const { lag, likeness } = find(piece, source, guess - reach, guess + reach);
    expected ??= lag - due;
    const from = (lag / RATE) * 1_000 - at / (STREAM_RATE / 1_000); // the same as long as no sample is missing
    windows.push({ ms, piece, likeness, from, at: at / STREAM_RATE, movedMs: ((lag - due - expected) / RATE) * 1_000 });
  }
  if (!windows.length) return { windows, wrong: ["the stream has no whole second"], worst: 0, moved: 0, stumbles: 0 };
  const wasRecorded = lookedForIn(windows.some(({ likeness }) => likeness < LIKENESS_MIN) ? recorded() : []);
  for (const window of windows) window.stumbled = window.likeness < LIKENESS_MIN && wasRecorded(window.piece);
  const sane = windows.filter(({ stumbled }) => !stumbled);
  const stumbles = windows.length - sane.length;
  const wrong = faults(windows, cuts);
  if (stumbles > STUMBLES_MAX * windows.length) wrong.push(`the browser stumbled in ${stumbles} of ${windows.length} windows: is the machine too busy?`);
  return {
    windows,
    wrong,
    stumbles,
    worst: Math.min(...sane.map(({ likeness }) => likeness)),
    moved: Math.max(...sane.map(({ movedMs }) => Math.abs(movedMs))),
  };
}

/** When the stream's nth sample was said, epoch ms. */
function clock(fragments) {
  let [end, rows] = [0, []];
  for (const { at, samples, spanMs } of fragments) rows.push({ at, samples, spanMs, begin: end, end: (end += samples) });
  return (n) => {
    const { at, samples, spanMs, begin } = rows.find(({ end }) => n < end) ?? rows.at(-1);
    return at + ((n - begin) / samples) * spanMs;
  };
}

const isCut = (cuts, from, to) => cuts.some(([start, end]) => from < end && to > start);

/** Tells whether a recorder handed a piece out. Looks behind the one before it first: all of a recording takes minutes on a busy machine. */
function lookedForIn(recordings) {
  let before;
  const has = (sound, piece, from, to) => {
    const { lag, likeness } = find(piece, sound, from, Math.min(to, sound.length - WINDOW * (RATE / STREAM_RATE)));
    if (likeness >= LIKENESS_MIN) before = { sound, lag };
    return likeness >= LIKENESS_MIN;
  };
  return (piece) =>
    (before && has(before.sound, piece, before.lag, before.lag + NEAR_S * RATE)) || recordings.some((sound) => has(sound, piece, 0, Infinity));
}

function faults(windows, cuts) {
  const wrong = [];
  let before; // in the same run of the recorder
  for (const window of windows) {
    const { at, ms, from, likeness, movedMs, stumbled } = window;
    const where = `second ${at.toFixed(1)} of the stream`;
    if (before && isCut(cuts, before.ms, ms)) before = undefined;
    if (stumbled) before = undefined;
    else if (likeness < LIKENESS_MIN) wrong.push(`${where} is not what was played: correlation ${likeness.toFixed(4)}`);
    else if (Math.abs(movedMs) > TIME_MS) wrong.push(`${where} is ${movedMs.toFixed(0)} ms from its true time`);
    else if (before && Math.abs(from - before.from) > LOST_MS)
      wrong.push(`${(from - before.from).toFixed(1)} ms before ${where} are missing (if below 0: there twice) within a run of the recorder`);
    if (!stumbled) before = window;
  }
  return wrong;
}

/** Sound whose clock ran late is put closer together, by so much at the most: its samples overlap in the ledger, and none is there twice. */
const CLOSER = 0.015;
/** So much of that shows between two fragments: what the last block of one, 100 ms, is put closer, and two times that are rounded up. */
const SEAM_MS = 4;

/** What the operator's ledger says of it. */
export function ledgerFaults({ time, gaps, chunks, fragments, parkedElsewhere }) {
  const wrong = [];
  const inTime = [...fragments].sort((a, b) => a.at - b.at);
  for (const [i, { at, spanMs }] of inTime.slice(0, -1).entries()) {
    const over = at + spanMs - inTime[i + 1].at;
    if (over > SEAM_MS) wrong.push(`a fragment of ${spanMs} ms is still heard ${over} ms after the next one begins`);
  }
  if (time.overlapMs > CLOSER * time.audioMs) wrong.push(`${time.overlapMs} ms are in the stream twice`);
  if (time.unknownMs) wrong.push(`${time.unknownMs} ms are missing, and nobody knows why`);
  if (gaps.length) wrong.push(`${gaps.length} open gaps, ${time.gapMs} ms`);
  const kinds = ["parked", "missing", "held", "givenUp", "notInStream", "twice"];
  for (const row of chunks)
    for (const kind of kinds) if (row[kind].length) wrong.push(`page ${row.numbering}, chunks ${kind}: ${JSON.stringify(row[kind])}`);
  if (parkedElsewhere.length) wrong.push(`parked: ${JSON.stringify(parkedElsewhere)}`);
  return wrong;
}
