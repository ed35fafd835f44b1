/** The whole of it: a microphone, a recorder, and what becomes of its blobs. */

import type { ErrorCode } from "./errors.ts";
import { AudioStreamError, isForGood } from "./errors.ts";
import { Emitter } from "./events.ts";
import type { FormatChoice } from "./format.ts";
import { choose } from "./format.ts";
import type { Level, MicrophoneInfo } from "./microphone.ts";
import { Microphone } from "./microphone.ts";
import type { Recorder } from "./recorder.ts";
import { record } from "./recorder.ts";
import { Sender } from "./sender.ts";
import type { ConnectionState } from "./socket.ts";
import type { SessionStatus } from "./status.ts";
import type { Token } from "./token.ts";
import { WakeLock } from "./wake-lock.ts";
import type { Counts } from "./window.ts";

export interface AudioStreamOptions {
  /** The WebSocket API, such as `wss://….execute-api.….amazonaws.com/live`. */
  url: string;
  /** The session that the token is for: what is left unsent in this browser is kept under this name. */
  session: string;
  /** Gives a token for each new connection; asked again before it expires. Without it `url` must say all. */
  token?: () => Promise<Token>;
  /** How often sound is handed out, ms; 1,000 if absent. */
  timeslice?: number;
  /** Of the Opus audio, bit/s; 64,000 if absent: a recogniser makes no more errors than at 128,000. */
  bitrate?: number;
  /** A microphone's deviceId; the default one if absent or not connected. */
  deviceId?: string;
  /** What the browser does to the sound; echo cancellation, noise suppression and gain control if absent. */
  constraints?: MediaTrackConstraints;
  /** How often the service is asked how much is stored, ms, 10,000 if absent; 0: only by `stop`. */
  statusEvery?: number;
  /** The most that waits in this browser, bytes: 64 MiB, 2 h at 64 kb/s. */
  bufferLimit?: number;
  /** Where `pcm-worklet.js` is served, for browsers that cannot record Opus; beside this module if absent. */
  workletUrl?: string | URL;
}

/** What the service does. */
export type State = "idle" | "starting" | "recording" | "paused" | "stopping" | "stopped" | "failed";

/** How it ended. */
export interface Outcome {
  /** All that was recorded is in the stream. */
  stored: boolean;
  /** Where the sound is, ms. */
  counts: Counts;
}

export interface AudioStreamEvents {
  state: State;
  connection: ConnectionState;
  /** After each change; see `Counts`. */
  counts: Counts;
  /** The service's word on what is in the stream, each time that it was asked: which chunks are missing there, and why. */
  status: SessionStatus;
  /** How the sound is recorded, and why so. */
  format: FormatChoice;
  microphone: MicrophoneInfo;
  problem: AudioStreamError;
  /** A problem that has passed. */
  solved: ErrorCode;
  /** Whether the screen is kept on. */
  awake: boolean;
}

const CONSTRAINTS: MediaTrackConstraints = {
  channelCount: 1,
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
};

/** Why there is no microphone. */
const UNAVAILABLE: ErrorCode[] = ["INSECURE_PAGE", "MICROPHONE_DENIED", "NO_MICROPHONE", "MICROPHONE_BUSY", "NO_FORMAT"];

const TIMESLICE_MS = 1_000;
const BITRATE = 64_000;
/** Between two tries to start the recorder again. */
const RESTART_MS = 1_000;

/** Speaks into a session, once: from `start` to `stop`. */
export class AudioStreamService extends Emitter<AudioStreamEvents> {
  #options: AudioStreamOptions;
  #state: State = "idle";
  #sender: Sender;
  #microphone: Microphone;
  #wakeLock: WakeLock;
  #choice: FormatChoice | undefined;
  #recorder: Recorder | undefined;
  /** Recorders are started and stopped one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #stopped: Promise<Outcome> | undefined;
  #hasRoom = true;
  #problems = new Set<ErrorCode>();

  constructor(options: AudioStreamOptions) {
    super();
    this.#options = options;
    this.#sender = new Sender(options, {
      counts: (counts) => this.emit("counts", counts),
      status: (status) => this.emit("status", status),
      connection: (state) => this.emit("connection", state),
      problem: (error) => this.#problem(error),
      solved: (code) => this.#solved(code),
      room: (room) => this.#room(room),
    });
    this.#microphone = new Microphone(options.constraints ?? CONSTRAINTS, {
      changed: (info) => {
        this.emit("microphone", info);
        return this.#restart().catch((cause) => this.#recover(cause));
      },
      problem: (code, fatal = false) => this.#problem(new AudioStreamError(code, { fatal })),
      solved: (code) => this.#solved(code),
    });
    this.#wakeLock = new WakeLock((held) => this.emit("awake", held));
  }

  get state(): State {
    return this.#state;
  }

  get counts(): Counts {
    return this.#sender.counts;
  }

  /** The microphone's loudness now; `undefined` before `start`, or where the browser does not tell. */
  get level(): Level | undefined {
    return this.#microphone.level;
  }

  get muted(): boolean {
    return this.#microphone.muted;
  }

  /** Sends what an earlier load of the page left unsent. `start` does so too. */
  open(): Promise<void> {
    return this.#sender.open();
  }

  /** The microphones there are. Browsers name them once one was allowed. */
  static async microphones(): Promise<MicrophoneInfo[]> {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return devices.filter(({ kind }) => kind === "audioinput").map(({ deviceId, label }) => ({ deviceId, label }));
  }

  /** Takes the microphone without recording, so that `level` tells whether it works. `start` does so too. */
  async prepare(): Promise<void> {
    if (this.#microphone.stream) return;
    try {
      this.#choice ??= choose();
      this.emit("format", this.#choice);
      await this.#microphone.open(this.#options.deviceId);
      for (const code of UNAVAILABLE) this.#solved(code);
      if (this.#microphone.info) this.emit("microphone", this.#microphone.info);
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  /** Begins to record. Call it from a click: the browser may ask the person, and lets no sound be heard otherwise. */
  async start(): Promise<void> {
    if (this.#state !== "idle" && this.#state !== "failed") return;
    this.#to("starting");
    await this.prepare();
    if (this.state !== "starting") return; // stopped meanwhile
    try {
      addEventListener("pagehide", this.#leave);
      addEventListener("pageshow", this.#back);
      document.addEventListener("visibilitychange", this.#visible);
      void this.#wakeLock.hold();
      this.#to("recording");
      for (const code of this.#problems) if (isForGood(code)) this.#solved(code);
      await Promise.all([this.#restart(), this.#sender.speak()]);
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  /** Leaves a hole in time: what is said meanwhile is not recorded. */
  async pause(): Promise<void> {
    if (this.#state !== "recording") return;
    this.#to("paused");
    await this.#restart();
  }

  async resume(): Promise<void> {
    if (this.#state !== "paused") return;
    this.#to("recording");
    await this.#restart();
  }

  /** Sends silence: time goes on. */
  mute(muted = true): void {
    this.#microphone.muted = muted;
  }

  unmute(): void {
    this.mute(false);
  }

  /** Records from another microphone from now on. */
  async use(deviceId: string): Promise<void> {
    this.#options.deviceId = deviceId;
    if (this.#microphone.stream) await this.#microphone.use(deviceId);
  }

  /** Ends the recording, and waits until all of it is stored, or is known to be missing. */
  stop(): Promise<Outcome> {
    return (this.#stopped ??= this.#stop());
  }

  async #stop(): Promise<Outcome> {
    this.#to("stopping");
    await this.#restart();
    this.#quiet();
    const counts = await this.#sender.finish();
    this.#to("stopped");
    return { stored: counts.missing + counts.sent + counts.waiting === 0, counts };
  }

  #failed(cause: unknown): AudioStreamError {
    const isOurs = cause instanceof AudioStreamError;
    const error = isOurs ? cause : new AudioStreamError("RECORDER_FAILED", { fatal: true, cause });
    this.#problem(error);
    return error;
  }

  #to(state: State): void {
    this.#state = state;
    this.emit("state", state);
  }

  /** Brings the recorder to what the state asks for: a fresh one on the current stream, or none. */
  #restart(): Promise<void> {
    const turn = this.#turn.then(async () => {
      const before = this.#recorder;
      this.#recorder = undefined;
      await before?.stop();
      const { stream } = this.#microphone;
      const choice = this.#choice;
      if (this.#state !== "recording" || !this.#hasRoom || !stream?.active || !choice) return;
      this.#recorder = await record(stream, choice, {
        timeslice: Math.max(this.#options.timeslice ?? TIMESLICE_MS, choice.minTimeslice),
        bitrate: this.#options.bitrate ?? BITRATE,
        workletUrl: this.#options.workletUrl ?? new URL("./pcm-worklet.js", import.meta.url),
        take: ({ data, at, ms }) => this.#sender.add(data, choice.format, at, ms),
        failed: (cause) => void this.#recover(cause),
      });
      this.#solved("RECORDER_FAILED");
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** The recorder stopped or stands still: another one goes on. Where the microphone is gone, that comes first. */
  async #recover(cause: unknown): Promise<void> {
    if (this.#state !== "recording" || this.#problems.has("MICROPHONE_GONE")) return;
    this.#problem(new AudioStreamError("RECORDER_FAILED", { cause }));
    await this.#restart().catch((again) => {
      setTimeout(() => this.#recorder || void this.#recover(again), RESTART_MS);
    });
  }

  /** Recording pauses while too much waits. */
  #room(room: boolean): void {
    this.#hasRoom = room;
    if (room) this.#solved("BUFFER_FULL");
    else this.#problem(new AudioStreamError("BUFFER_FULL"));
    void this.#restart().catch((cause) => this.#recover(cause));
  }

  #problem(error: AudioStreamError): void {
    if (error.fatal && this.#state !== "stopped" && this.#state !== "failed") {
      this.#to("failed");
      void this.#restart();
      this.#quiet();
      if (isForGood(error.code)) this.#sender.abandon();
      else this.#sender.rest();
    }
    if (this.#problems.has(error.code) && !error.fatal && error.code !== "CHUNK_REFUSED") return;
    this.#problems.add(error.code);
    this.emit("problem", error);
  }

  #solved(code: ErrorCode): void {
    if (this.#problems.delete(code)) this.emit("solved", code);
  }

  /** Lets microphone and screen go. */
  #quiet(): void {
    this.#microphone.close();
    this.#wakeLock.release();
    removeEventListener("pagehide", this.#leave);
    removeEventListener("pageshow", this.#back);
    document.removeEventListener("visibilitychange", this.#visible);
  }

  #leave = (): void => {
    void this.#recorder?.stop(); // its last blob comes only where the page is kept
    this.#sender.leave();
  };

  /** A page that was kept while another one was looked at. */
  #back = ({ persisted }: PageTransitionEvent): void => {
    if (!persisted) return;
    this.#sender.wake();
    void this.#restart().catch((cause) => this.#recover(cause));
  };

  #visible = (): void => {
    if (document.visibilityState === "visible") this.#sender.wake();
    else this.#recorder?.flush(); // a page that is out of sight may be ended without a word
  };
}
