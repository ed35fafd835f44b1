/** From a microphone's stream to blobs, by MediaRecorder or by an AudioWorklet. */

import type { FormatChoice } from "./format.ts";

/** Sound that the recorder handed out at `at` (epoch ms), `ms` long by the page's clock. Never empty. */
export interface Recorded {
  data: Blob | ArrayBuffer;
  at: number;
  ms: number;
}

export interface RecorderOptions {
  timeslice: number;
  /** Of the Opus audio, bit/s. */
  bitrate: number;
  workletUrl: string | URL;
  take(recorded: Recorded): void;
  /** It stopped without being asked. */
  failed(cause: unknown): void;
}

/** One run: it opens with a header of its own. */
export interface Recorder {
  /** All that was recorded has been taken when the promise is kept. */
  stop(): Promise<void>;
  /** Hands out at once what it has, as far as it can. */
  flush(): void;
}

/** A recorder that does not hand out its last blob in this time has none. */
const STOP_MS = 3_000;
/** So many timeslices without a blob: it stands still. */
const STALLED_SLICES = 4;
const STALLED_LEAST_MS = 4_000;

/** Starts to record. */
export async function record(stream: MediaStream, choice: FormatChoice, options: RecorderOptions): Promise<Recorder> {
  return choice.mimeType === undefined ? pcm(stream, options) : opus(stream, choice.mimeType, options);
}

/** How far the computer's clock is ahead of the page's own, at its highest. */
let ahead = -Infinity;

/** Epoch ms. A clock that is set back is not followed: what is said then would lie before what was said earlier. */
function now(): number {
  ahead = Math.max(ahead, Date.now() - performance.now());
  return Math.round(performance.now() + ahead);
}

/** Gives each blob its time: since the one before, or since the start. */
function timed(options: RecorderOptions): (data: Blob | ArrayBuffer, size: number) => void {
  let before = performance.now();
  return (data, size) => {
    if (size === 0) return; // an empty blob has no number: its time goes to the next
    const ended = performance.now();
    options.take({ data, at: now(), ms: Math.round(ended - before) });
    before = ended;
  };
}

function opus(stream: MediaStream, mimeType: string, options: RecorderOptions): Recorder {
  const recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond: options.bitrate });
  const take = timed(options);
  const watch = watchdog(options, () => recorder.state === "recording" && stream.active);
  let ended: () => void;
  const over = new Promise<void>((resolve) => (ended = resolve));
  let asked = false;
  recorder.ondataavailable = ({ data }) => {
    watch.fed();
    take(data, data.size);
  };
  recorder.onstop = () => {
    watch.stop();
    ended();
    if (!asked) options.failed(new Error("the recorder stopped by itself"));
  };
  recorder.start(options.timeslice);
  return {
    stop() {
      asked = true;
      watch.stop();
      if (recorder.state === "inactive") return over;
      recorder.stop();
      return Promise.race([over, new Promise<void>((resolve) => setTimeout(resolve, STOP_MS))]);
    },
    flush() {
      if (recorder.state === "recording") recorder.requestData();
    },
  };
}

/** Tells when no blob comes for too long. A page that stood still itself is given time to catch up. */
function watchdog(options: RecorderOptions, isRecording: () => boolean): { fed(): void; stop(): void } {
  const longest = Math.max(STALLED_LEAST_MS, STALLED_SLICES * options.timeslice);
  let quiet = 0;
  let before = performance.now();
  const timer = setInterval(() => {
    const passed = performance.now() - before;
    before += passed;
    quiet = isRecording() ? quiet + Math.min(passed, 1_500) : 0;
    if (quiet < longest) return;
    clearInterval(timer);
    options.failed(new Error("the recorder stands still"));
  }, 1_000);
  return {
    fed: () => (quiet = 0),
    stop: () => clearInterval(timer),
  };
}

async function pcm(stream: MediaStream, options: RecorderOptions): Promise<Recorder> {
  const context = new AudioContext();
  await context.audioWorklet.addModule(options.workletUrl);
  await context.resume();
  const source = context.createMediaStreamSource(stream);
  const node = new AudioWorkletNode(context, "kvs-pcm", {
    numberOfOutputs: 0,
    channelCount: 1,
    channelCountMode: "explicit",
    processorOptions: { ms: Math.min(options.timeslice, 500) }, // 16 kB, one frame in base64
  });
  const take = timed(options);
  const watch = watchdog(options, () => context.state === "running" && stream.active);
  let ended: () => void = () => {};
  node.port.onmessage = ({ data }: MessageEvent<ArrayBuffer | "end">) => {
    if (data === "end") return ended();
    watch.fed();
    take(data, data.byteLength);
  };
  node.onprocessorerror = (event) => options.failed(event);
  source.connect(node);
  return {
    async stop() {
      watch.stop();
      const over = new Promise<void>((resolve) => (ended = resolve));
      node.port.postMessage("end");
      await Promise.race([over, new Promise<void>((resolve) => setTimeout(resolve, STOP_MS))]);
      source.disconnect();
      await context.close();
    },
    flush() {
      node.port.postMessage("flush");
    },
  };
}
