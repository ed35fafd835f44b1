/** The microphone: taken, watched, and taken again when it goes away. */

import type { ErrorCode } from "./errors.ts";
import { AudioStreamError } from "./errors.ts";

/** Muted by the system for so long: not just for a moment. */
const MUTED_MS = 1_000;
/** Not one sample other than zero for so long while unmuted. */
const SILENT_MS = 2_000;
const LOOK_MS = 250;
/** Between two tries to get a microphone back. */
const RETAKE_MS = 2_000;
/** A microphone that stays silent or muted is left alone for so long. */
const REST_MS = 30_000;

/** The microphone in use. */
export interface MicrophoneInfo {
  deviceId: string;
  label: string;
}

/** How loud it is, both from 0 to 1. */
export interface Level {
  peak: number;
  rms: number;
}

export interface MicrophoneEvents {
  /** Another stream is in use from now on; the one before is let go when the promise is kept. */
  changed(info: MicrophoneInfo): Promise<void>;
  /** `fatal`: it will not come back by itself. */
  problem(code: ErrorCode, fatal?: boolean): void;
  solved(code: ErrorCode): void;
}

export class Microphone {
  #constraints: MediaTrackConstraints;
  #events: MicrophoneEvents;
  #wanted: string | undefined;
  #stream: MediaStream | undefined;
  #open = false;
  #muted = false;
  #taking = false;
  #troubles = new Map<ErrorCode, { tries: number; restUntil: number }>();
  #quietSince = 0;
  #mutedSince = 0;
  #meter: { context: AudioContext; node: AnalyserNode; samples: Float32Array<ArrayBuffer> } | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(constraints: MediaTrackConstraints, events: MicrophoneEvents) {
    this.#constraints = constraints;
    this.#events = events;
  }

  /** Asks for the microphone; the browser asks the person. */
  async open(deviceId?: string): Promise<MediaStream> {
    this.#open = true;
    this.#wanted = deviceId;
    navigator.mediaDevices?.addEventListener("devicechange", this.#devicesChanged);
    try {
      await this.#take(deviceId).catch((error) => {
        if (deviceId && error.code === "NO_MICROPHONE") return this.#take(); // it is not connected today
        throw error;
      });
    } catch (error) {
      this.close();
      throw error;
    }
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    return this.#stream as MediaStream;
  }

  /** Takes another one, while the one in use goes on. */
  async use(deviceId: string): Promise<void> {
    await this.#take(deviceId);
    this.#wanted = deviceId;
    this.#troubles.clear();
  }

  close(): void {
    this.#open = false;
    clearInterval(this.#timer);
    navigator.mediaDevices?.removeEventListener("devicechange", this.#devicesChanged);
    this.#release(this.#stream);
    this.#stream = undefined;
    void this.#meter?.context.close();
    this.#meter = undefined;
    for (const code of [...this.#troubles.keys()]) this.#solve(code);
  }

  get stream(): MediaStream | undefined {
    return this.#stream;
  }

  get muted(): boolean {
    return this.#muted;
  }

  /** A muted microphone gives silence: time goes on. */
  set muted(muted: boolean) {
    this.#muted = muted;
    const track = this.#track;
    if (track) track.enabled = !muted;
    this.#quietSince = 0;
  }

  /** How loud it is at this moment; `undefined` where the browser does not tell. */
  get level(): Level | undefined {
    const meter = this.#meter;
    if (meter?.context.state !== "running") return undefined;
    meter.node.getFloatTimeDomainData(meter.samples);
    let [peak, sum] = [0, 0];
    for (const x of meter.samples) {
      peak = Math.max(peak, Math.abs(x));
      sum += x * x;
    }
    return { peak, rms: Math.sqrt(sum / meter.samples.length) };
  }

  get #track(): MediaStreamTrack | undefined {
    return this.#stream?.getAudioTracks()[0];
  }

  async #take(deviceId?: string): Promise<void> {
    const audio = { ...this.#constraints, ...(deviceId && { deviceId: { exact: deviceId } }) };
    if (!navigator.mediaDevices) throw new AudioStreamError("INSECURE_PAGE", { fatal: true });
    const stream = await navigator.mediaDevices.getUserMedia({ audio }).catch((cause) => {
      throw new AudioStreamError(CODES[(cause as DOMException).name] ?? "NO_MICROPHONE", { fatal: true, cause });
    });
    if (!this.#open) return this.#release(stream);
    const before = this.#stream;
    this.#stream = stream;
    const track = this.#track as MediaStreamTrack;
    track.enabled = !this.#muted;
    track.onended = () => void this.#trouble("MICROPHONE_GONE");
    this.#quietSince = this.#mutedSince = 0;
    this.#listen(stream);
    if (before) {
      await this.#events.changed(info(track));
      this.#release(before);
    }
  }

  /** What is in use. */
  get info(): MicrophoneInfo | undefined {
    return this.#track && info(this.#track);
  }

  #release(stream: MediaStream | undefined): void {
    for (const track of stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
  }

  #listen(stream: MediaStream): void {
    if (typeof AudioContext === "undefined") return;
    void this.#meter?.context.close();
    const context = new AudioContext();
    const node = context.createAnalyser();
    context.createMediaStreamSource(stream).connect(node);
    this.#meter = { context, node, samples: new Float32Array(node.fftSize) };
    this.#wake();
  }

  /** Phones suspend a context at each call; before the first click browsers refuse to start one. */
  #wake(): void {
    const context = this.#meter?.context;
    if (context?.state !== "running" && navigator.userActivation?.hasBeenActive !== false) void context?.resume();
  }

  #devicesChanged = async (): Promise<void> => {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const has = (id: string | undefined) => devices.some((device) => device.kind === "audioinput" && device.deviceId === id);
    const current = this.info?.deviceId;
    if (!this.#open || this.#taking) return;
    if (current && !has(current)) await this.#trouble("MICROPHONE_GONE");
    else if (this.#wanted && current !== this.#wanted && has(this.#wanted)) await this.use(this.#wanted).catch(() => {}); // it is back
  };

  #look(): void {
    const track = this.#track;
    const now = Date.now();
    if (!track || this.#taking) return;
    this.#wake();
    this.#mutedSince = track.muted ? this.#mutedSince || now : 0;
    const level = this.level;
    this.#quietSince = !this.#muted && !track.muted && level?.peak === 0 ? this.#quietSince || now : 0;
    if (track.muted && now - this.#mutedSince >= MUTED_MS) void this.#trouble("MICROPHONE_MUTED");
    if (!track.muted) this.#solve("MICROPHONE_MUTED");
    if (this.#quietSince && now - this.#quietSince >= SILENT_MS) void this.#trouble("MICROPHONE_SILENT");
    if (level && level.peak > 0) this.#solve("MICROPHONE_SILENT");
  }

  #solve(code: ErrorCode): void {
    if (this.#troubles.delete(code)) this.#events.solved(code);
  }

  /** Says so, takes the same microphone again, then the default one. */
  async #trouble(code: ErrorCode): Promise<void> {
    if (this.#taking || !this.#open) return;
    const trouble = this.#troubles.get(code) ?? { tries: 0, restUntil: 0 };
    if (Date.now() < trouble.restUntil) return;
    if (!this.#troubles.has(code)) this.#events.problem(code);
    this.#troubles.set(code, trouble);
    this.#taking = true;
    const gone = code === "MICROPHONE_GONE";
    const same = this.info?.deviceId;
    try {
      do {
        const deviceId = trouble.tries++ % 2 === 0 ? same : undefined;
        const failure = await this.#take(deviceId).then(() => undefined, (error: AudioStreamError) => error.code);
        if (failure === "MICROPHONE_DENIED") return this.#events.problem(failure, true);
        if (!failure && gone) return this.#solve(code);
        if (gone && trouble.tries % 2 === 0) await new Promise((resolve) => setTimeout(resolve, RETAKE_MS));
      } while (gone && this.#open);
      if (trouble.tries % 2 === 0) trouble.restUntil = Date.now() + REST_MS;
    } finally {
      this.#taking = false;
    }
  }
}

function info(track: MediaStreamTrack): MicrophoneInfo {
  return { deviceId: track.getSettings().deviceId ?? "", label: track.label };
}

/** What a refusal of getUserMedia means, by its name. */
const CODES: Record<string, ErrorCode> = {
  NotAllowedError: "MICROPHONE_DENIED",
  SecurityError: "INSECURE_PAGE",
  TypeError: "INSECURE_PAGE",
  NotReadableError: "MICROPHONE_BUSY",
  AbortError: "MICROPHONE_BUSY",
};
