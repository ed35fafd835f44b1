/** One message's worth of recorded sound, and how a blob is cut into several. */

/** How the sound is packed; the protocol's names. */
export type Format = "webm-opus" | "ogg-opus" | "pcm-s16le";

/** A numbered piece of a recording. It is sent again unchanged: same index, same time, same bytes. */
export interface Chunk {
  /** The page load that recorded it. Each counts its chunks from 0. */
  readonly page: string;
  /** Its number within the page. */
  readonly index: number;
  /** `Date.now()` when the recorder handed it out, about the end of its sound. */
  readonly at: number;
  /** How long its sound is, by the page's clock. */
  readonly ms: number;
  readonly format: Format;
  /** The blob goes on in the next chunk. */
  readonly continues: boolean;
  readonly size: number;
  /** Absent while they are only on disk. */
  bytes: Uint8Array | undefined;
}

/** How long the sound of these chunks is, ms. */
export function duration(chunks: Iterable<Chunk>): number {
  let ms = 0;
  for (const chunk of chunks) ms += chunk.ms;
  return ms;
}

/** API Gateway takes frames of 32 KB; in base64 this is 30 KB, which leaves room for the other fields. Even, as 16-bit samples are. */
export const PIECE_BYTES = 22 * 1024;

/** Cuts a blob into pieces that fit a frame each, and shares its time among them. */
export function* pieces(blob: Uint8Array, ms: number): Generator<{ bytes: Uint8Array; ms: number; continues: boolean }> {
  for (let from = 0, told = 0; from < blob.length; from += PIECE_BYTES) {
    const to = Math.min(from + PIECE_BYTES, blob.length);
    const until = Math.round((ms * to) / blob.length);
    yield { bytes: blob.slice(from, to), ms: until - told, continues: to < blob.length };
    told = until;
  }
}

/** Standard base64. */
export function base64(bytes: Uint8Array): string {
  let text = "";
  for (let from = 0; from < bytes.length; from += 8192) {
    text += String.fromCharCode(...bytes.subarray(from, from + 8192));
  }
  return btoa(text);
}

/** The message that carries a chunk and asks for its acknowledgement. */
export function message(chunk: Chunk, bytes: Uint8Array): string {
  return JSON.stringify({
    action: "audioChunk",
    audioData: base64(bytes),
    timestamp: chunk.at,
    format: chunk.format,
    chunkIndex: chunk.index,
    ack: true,
    continues: chunk.continues || undefined,
  });
}
