/** From a device's rate to 16 kHz. */

export const RATE = 16_000;
/** Zero crossings of the filter on each side, and points of its table between two of them. */
const WIDTH = 16;
const POINTS = 128;

/** A Hann-windowed sinc, by its distance from the middle. */
const FILTER = Float64Array.from({ length: WIDTH * POINTS + 2 }, (_, i) => {
  const x = i / POINTS;
  if (x >= WIDTH) return 0;
  return (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)) * (0.5 + 0.5 * Math.cos((Math.PI * x) / WIDTH));
});

/**
 * A band-limited resampler (a Hann-windowed sinc) that is fed block by block. It gives the same samples however the input is
 * cut, and as many as the input's time holds, to within one.
 */
export class Resampler {
  #step: number;
  #scale: number;
  #reach: number;
  #input: Float32Array;
  #at: number;

  constructor(rate: number) {
    this.#step = rate / RATE;
    this.#scale = Math.min(1, RATE / rate) * 0.94; // the filter's slope ends at 8 kHz
    this.#reach = Math.ceil(WIDTH / this.#scale);
    this.#input = new Float32Array(this.#reach); // silence before the first sample
    this.#at = this.#reach;
  }

  /** The samples that this block completes. */
  push(block: Float32Array): Float32Array {
    const input = new Float32Array(this.#input.length + block.length);
    input.set(this.#input);
    input.set(block, this.#input.length);
    const count = Math.max(0, Math.ceil((input.length - this.#reach - this.#at) / this.#step));
    const output = new Float32Array(count);
    for (let n = 0; n < count; n++, this.#at += this.#step) output[n] = this.#sample(input, this.#at);
    const keep = Math.max(0, Math.floor(this.#at) - this.#reach);
    this.#input = input.slice(keep);
    this.#at -= keep;
    return output;
  }

  #sample(input: Float32Array, at: number): number {
    let sum = 0;
    const reach = WIDTH / this.#scale;
    for (let i = Math.ceil(at - reach); i < at + reach; i++) {
      const x = Math.abs(i - at) * this.#scale * POINTS;
      const left = Math.floor(x);
      const [a, b] = [FILTER[left] as number, FILTER[left + 1] as number];
      sum += (input[i] as number) * (a + (b - a) * (x - left));
    }
    return sum * this.#scale;
  }
}

/** Samples from -1 to 1 as 16 bit little endian. */
export function s16le(samples: Float32Array): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((x, i) => view.setInt16(i * 2, Math.max(-32768, Math.min(32767, Math.round(x * 32768))), true));
  return view.buffer;
}
