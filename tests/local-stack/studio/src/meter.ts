/** The level meter: a bar for the eye, a word for the ear. */

import type { Level } from "../../../../worker/speaker/src/index.ts";
import { element } from "./page.ts";

/** The bar's left end. */
const FLOOR_DB = -60;
const QUIET_DB = -40;
const CLIPPED = 0.99;
/** How often the words follow the bar, and how often the bar moves where people want little motion. */
const WORDS_MS = 1_000;
const CALM_MS = 250;
/** How fast the bar falls, dB a second. */
const FALL_DB = 40;

const decibels = (amplitude: number) => Math.max(FLOOR_DB, 20 * Math.log10(amplitude || 1e-9));

/** What the meter looks at. */
export interface Heard {
  /** The microphone is taken. */
  live: boolean;
  muted: boolean;
  /** Absent where the browser does not tell. */
  level: Level | undefined;
}

/** Follows what is heard from now on. */
export function followLevel(listen: () => Heard): void {
  const meter = element("meter");
  const bar = element("bar");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let [shown, saidAt, drawnAt, clippedAt] = [FLOOR_DB, 0, 0, -Infinity];
  const draw = (now: number) => {
    requestAnimationFrame(draw);
    const passed = now - drawnAt;
    if (calm.matches && passed < CALM_MS) return;
    drawnAt = now;
    const heard = listen();
    const measured = heard.level;
    const db = measured ? decibels(measured.rms) : FLOOR_DB;
    shown = Math.max(db, shown - (FALL_DB * Math.min(passed, 1_000)) / 1_000);
    if (measured && measured.peak >= CLIPPED) clippedAt = now;
    const loud = now - clippedAt < WORDS_MS;
    bar.style.transform = `scaleX(${1 - shown / FLOOR_DB})`;
    bar.classList.toggle("loud", loud);
    if (now - saidAt < WORDS_MS) return;
    saidAt = now;
    meter.setAttribute("aria-valuenow", String(Math.round(shown)));
    meter.setAttribute("aria-valuetext", heard.muted ? "muted" : words(measured, shown, loud));
    hint(heard, loud);
  };
  requestAnimationFrame(draw);
}

function words(measured: Level | undefined, db: number, loud: boolean): string {
  if (!measured) return "not listening";
  if (measured.peak === 0) return "no sound at all";
  if (loud) return "too loud";
  return db < QUIET_DB ? "quiet" : "good";
}

function hint(heard: Heard, loud: boolean): void {
  element("test").hidden = heard.live;
  const text = advice(heard, loud);
  const line = element("hint");
  if (line.textContent !== text) line.textContent = text;
}

function advice({ live, muted, level }: Heard, loud: boolean): string {
  if (!live) return "Press “Test it” and say something: the bar should move.";
  if (muted) return "Muted: nothing of what you say is heard.";
  if (!level) return "This browser does not tell how loud it is.";
  if (level.peak === 0) return "This microphone is silent: it gives no sound at all.";
  if (loud) return "Too loud: move away from the microphone, or turn it down.";
  return "The bar should move when you speak.";
}
