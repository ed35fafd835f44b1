// A sound that is different at every moment, and where a piece of it comes from.

/** Of the source. The stream has a third of it. */
export const RATE = 48_000;
const STREAM_RATE = 16_000;
const STEP = RATE / STREAM_RATE;
/** The pitch goes somewhere else so often. */
const NOTE_S = 0.1;
/** Few enough that all of it lies below 3 kHz, where Opus keeps the waveform. */
const HARMONICS = 12;

/** A number from 0 to 1 that belongs to `n`: the sound is the same in every run. */
function chance(n) {
  let x = Math.imul(n ^ (n >>> 16), 0x45d9f3b);
  x = Math.imul(x ^ (x >>> 16), 0x45d9f3b);
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
}

/** Speech-like: gliding pitch, changing timbre, never the same twice; samples from -1 to 1. */
export function speech(seconds) {
  const samples = new Float32Array(Math.round(seconds * RATE));
  const note = NOTE_S * RATE;
  const at = (n, kind) => chance(Math.floor(n) * 31 + kind);
  let phase = 0;
  for (let i = 0; i < samples.length; i++) {
    const [n, part] = [Math.floor(i / note), (i % note) / note];
    const between = (kind) => at(n, kind) + (at(n + 1, kind) - at(n, kind)) * part;
    phase += (2 * Math.PI * (100 + 120 * between(0))) / RATE;
    let sum = 0;
    for (let k = 1; k <= HARMONICS; k++) sum += (between(k) / k) * Math.sin(k * phase);
    samples[i] = 0.3 * sum;
  }
  return samples;
}

/** 16-bit samples as a WAV file. */
export function wav(samples) {
  const data = Buffer.alloc(44 + samples.length * 2);
  data.write("RIFF", 0);
  data.writeUInt32LE(data.length - 8, 4);
  data.write("WAVEfmt ", 8);
  for (const [at, value, bytes] of [[16, 16, 4], [20, 1, 2], [22, 1, 2], [24, RATE, 4], [28, RATE * 2, 4], [32, 2, 2], [34, 16, 2]])
    data.writeUIntLE(value, at, bytes);
  data.write("data", 36);
  data.writeUInt32LE(samples.length * 2, 40);
  samples.forEach((x, i) => data.writeInt16LE(Math.round(x * 32_767), 44 + 2 * i));
  return data;
}

/** The samples of a WAV file as kvsw writes it: 16 bits, mono. */
export function unwav(file) {
  for (let at = 12; at + 8 <= file.length; at += 8 + file.readUInt32LE(at + 4)) {
    if (file.toString("latin1", at, at + 4) !== "data") continue;
    const count = Math.min(file.readUInt32LE(at + 4), file.length - at - 8) >> 1;
    return Float32Array.from({ length: count }, (_, i) => file.readInt16LE(at + 8 + 2 * i) / 32_768);
  }
  throw new Error("no sound in the WAV file");
}

/** Pearson's correlation of a piece of the stream with the source from `lag` (source samples) on, looking at every `every`th sample. */
function correlation(piece, source, lag, every) {
  let [a, b, aa, bb, ab, n] = [0, 0, 0, 0, 0, 0];
  for (let i = 0; i < piece.length; i += every) {
    const [x, y] = [piece[i], source[lag + STEP * i] ?? 0];
    a += x;
    b += y;
    aa += x * x;
    bb += y * y;
    ab += x * y;
    n++;
  }
  const scale = Math.sqrt((aa - (a * a) / n) * (bb - (b * b) / n));
  return scale > 1e-9 ? (ab - (a * b) / n) / scale : 0;
}

/**
 * Where in the source the piece is: the lag (source samples) from `from` to `to` where they are most alike, and how much. Looks at every
 * quarter of a millisecond and each 20th sample first.
 */
export function find(piece, source, from, to) {
  let best = { lag: 0, likeness: -1 };
  const look = (first, last, step, every) => {
    for (let lag = Math.max(0, Math.round(first)); lag <= last; lag += step) {
      const likeness = correlation(piece, source, lag, every);
      if (likeness > best.likeness) best = { lag, likeness };
    }
  };
  look(from, to, 12, 20);
  best.likeness = -1;
  look(best.lag - 24, best.lag + 24, 1, 1);
  return best;
}
