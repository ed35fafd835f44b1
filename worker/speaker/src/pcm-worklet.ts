/** Runs in the audio thread: a microphone's samples, as blobs of 16 kHz mono s16le. */

import { RATE, Resampler, s16le } from "./resample.ts";

declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
  constructor(options?: unknown);
}
declare function registerProcessor(name: string, processor: unknown): void;

class PcmProcessor extends AudioWorkletProcessor {
  #resampler = new Resampler(sampleRate);
  #blob: Float32Array;
  #filled = 0;
  #ended = false;

  constructor(options: { processorOptions: { ms: number } }) {
    super(options);
    this.#blob = new Float32Array(Math.round((RATE * options.processorOptions.ms) / 1000));
    this.port.onmessage = ({ data }) => {
      this.#flush();
      this.#ended = data === "end";
      if (this.#ended) this.port.postMessage("end");
    };
  }

  process([input]: Float32Array[][]): boolean {
    const block = input?.[0];
    if (!block || this.#ended) return !this.#ended;
    for (const sample of this.#resampler.push(block)) {
      this.#blob[this.#filled++] = sample;
      if (this.#filled === this.#blob.length) this.#flush();
    }
    return true;
  }

  #flush(): void {
    const bytes = s16le(this.#blob.subarray(0, this.#filled));
    this.#filled = 0;
    if (bytes.byteLength) this.port.postMessage(bytes, [bytes]);
  }
}

registerProcessor("kvs-pcm", PcmProcessor);
