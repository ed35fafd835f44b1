/** Which recorder this browser has, and why that one. */

import type { Format } from "./chunk.ts";
import { AudioStreamError } from "./errors.ts";

/** The choice, for a person who wants to know. */
export interface FormatChoice {
  format: Format;
  /** For MediaRecorder; absent where an AudioWorklet records. */
  mimeType?: string;
  /** The shortest timeslice that this browser keeps to, ms. */
  minTimeslice: number;
  why: string;
}

const OPUS: [Format, string][] = [
  ["webm-opus", "audio/webm;codecs=opus"],
  ["ogg-opus", "audio/ogg;codecs=opus"],
];

/** Safari before 27 hands nothing out under a second. */
const SAFARI_MS = 1_000;

/** The best format that the service understands. */
export function choose(): FormatChoice {
  const recorder = globalThis.MediaRecorder as typeof MediaRecorder | undefined;
  for (const [format, mimeType] of OPUS) {
    if (!recorder?.isTypeSupported(mimeType)) continue;
    const slow = isSlow(navigator.userAgent);
    const name = format === "webm-opus" ? "WebM" : "Ogg";
    const why = `${name}/Opus, which this browser records itself${slow ? "; this Safari hands it out once a second" : ""}`;
    return { format, mimeType, minTimeslice: slow ? SAFARI_MS : 100, why };
  }
  if (typeof AudioWorkletNode === "undefined") throw new AudioStreamError("NO_FORMAT", { fatal: true });
  const missing = recorder ? "cannot record Opus" : "has no MediaRecorder";
  return { format: "pcm-s16le", minTimeslice: 100, why: `uncompressed sound, since this browser ${missing}` };
}

/** Safari before 27, and every browser of an iOS before 27: all of them are WebKit there. */
export function isSlow(userAgent: string): boolean {
  if (!userAgent.includes("AppleWebKit") || /Chrom(e|ium)\//.test(userAgent)) return false;
  const version = /Version\/(\d+)/.exec(userAgent) ?? /OS (\d+)_/.exec(userAgent);
  return Number(version?.[1] ?? 0) < 27;
}
