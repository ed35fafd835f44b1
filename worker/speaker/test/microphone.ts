/** Microphones and a MediaRecorder for tests. */

import type { Browser } from "./browser.ts";

export class Track extends EventTarget {
  readyState = "live";
  enabled = true;
  muted = false;
  onended: (() => void) | null = null;

  constructor(readonly device: Device) {
    super();
    device.tracks.push(this);
  }

  get label(): string {
    return this.device.label;
  }

  getSettings(): { deviceId: string } {
    return { deviceId: this.device.deviceId };
  }

  stop(): void {
    this.readyState = "ended";
  }

  /** The device goes away. */
  end(): void {
    this.readyState = "ended";
    this.onended?.();
  }
}

export class Stream {
  constructor(readonly track: Track) {}
  get active(): boolean {
    return this.track.readyState === "live";
  }
  getAudioTracks(): Track[] {
    return [this.track];
  }
  getTracks(): Track[] {
    return [this.track];
  }
}

export class Device {
  kind = "audioinput";
  tracks: Track[] = [];
  /** The sample that it gives for ever. */
  sample = 0.1;
  constructor(readonly deviceId: string, readonly label: string) {}
}

/** What getUserMedia and the rest know of. */
export class Devices extends EventTarget {
  devices: Device[] = [];
  asked: (string | undefined)[] = [];
  /** The name of the DOMException that the next questions get. */
  refusal: string | undefined;

  constructor(browser: Browser, ...devices: [string, string][]) {
    super();
    this.devices = devices.map(([id, label]) => new Device(id, label));
    browser.mediaDevices = this;
    Object.assign(globalThis, {
      AudioContext: class {
        state = "running";
        #stream: Stream | undefined;
        createAnalyser() {
          return {
            fftSize: 16,
            getFloatTimeDomainData: (samples: Float32Array) => {
              const track = this.#stream?.track;
              const heard = track?.readyState === "live" && track.enabled && !track.muted;
              samples.fill(heard ? (track?.device.sample ?? 0) : 0);
            },
          };
        }
        createMediaStreamSource(stream: Stream) {
          this.#stream = stream;
          return { connect() {} };
        }
        async resume() {}
        async close() {
          this.state = "closed";
        }
      },
      MediaRecorder: FakeRecorder,
    });
    FakeRecorder.all = [];
  }

  async getUserMedia({ audio }: { audio: { deviceId?: { exact: string } } }): Promise<Stream> {
    const wanted = audio.deviceId?.exact;
    this.asked.push(wanted);
    if (this.refusal) throw new DOMException("no", this.refusal);
    const device = wanted ? this.devices.find(({ deviceId }) => deviceId === wanted) : this.devices[0];
    if (!device) throw new DOMException("no such device", wanted ? "OverconstrainedError" : "NotFoundError");
    return new Stream(new Track(device));
  }

  async enumerateDevices(): Promise<Device[]> {
    return this.devices;
  }

  /** Somebody pulls it out. */
  unplug(deviceId: string): void {
    const device = this.devices.find((known) => known.deviceId === deviceId);
    this.devices = this.devices.filter((known) => known !== device);
    for (const track of device?.tracks ?? []) if (track.readyState === "live") track.end();
    this.dispatchEvent(new Event("devicechange"));
  }

  plug(deviceId: string, label: string): void {
    this.devices.push(new Device(deviceId, label));
    this.dispatchEvent(new Event("devicechange"));
  }

  /** The track in use. */
  get live(): Track | undefined {
    return this.devices.flatMap(({ tracks }) => tracks).findLast(({ readyState }) => readyState === "live");
  }
}

/** Hands out, each timeslice, a byte for each 10 ms, and a header of one byte at its start. */
export class FakeRecorder {
  static all: FakeRecorder[] = [];
  static isTypeSupported = (type: string) => type.startsWith("audio/webm");
  state = "inactive";
  ondataavailable: ((event: { data: Blob }) => void) | null = null;
  onstop: (() => void) | null = null;
  /** Stands still: no more blobs. */
  stalled = false;
  /** Hands out empty blobs. */
  empty = false;
  #from = 0;
  #header = true;
  #timer: ReturnType<typeof setInterval> | undefined;
  readonly timeslices: number[] = [];

  constructor(readonly stream: Stream, readonly options: { audioBitsPerSecond: number }) {
    FakeRecorder.all.push(this);
    stream.track.addEventListener("ended", () => this.stop());
  }

  start(timeslice: number): void {
    if (!this.stream.active) throw new DOMException("the stream is over", "NotSupportedError");
    this.timeslices.push(timeslice);
    this.state = "recording";
    this.#from = performance.now();
    this.#timer = setInterval(() => this.#give(), timeslice);
  }

  requestData(): void {
    queueMicrotask(() => this.#give());
  }

  stop(): void {
    if (this.state === "inactive") return;
    this.state = "inactive";
    clearInterval(this.#timer);
    queueMicrotask(() => {
      this.#give();
      this.onstop?.();
    });
  }

  #give(): void {
    if (this.stalled) return;
    const sound = this.empty ? [] : Array(Math.round((performance.now() - this.#from) / 10)).fill(this.stream.track.enabled ? 2 : 0);
    const bytes = new Uint8Array(this.#header && !this.empty ? [1, ...sound] : sound);
    if (!this.empty) [this.#from, this.#header] = [performance.now(), false];
    this.ondataavailable?.({ data: new Blob([bytes]) });
  }
}
