/** kvs-speaker: a browser's microphone for kvs-stream-writer. */

export type { Format } from "./chunk.ts";
export { AudioStreamError } from "./errors.ts";
export type { ErrorCode } from "./errors.ts";
export type { FormatChoice } from "./format.ts";
export type { Level, MicrophoneInfo } from "./microphone.ts";
export { AudioStreamService } from "./service.ts";
export type { AudioStreamEvents, AudioStreamOptions, Outcome, State } from "./service.ts";
export type { ConnectionState } from "./socket.ts";
export type { SessionStatus } from "./status.ts";
export type { Token } from "./token.ts";
export type { Counts } from "./window.ts";
