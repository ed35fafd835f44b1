/** What can go wrong, with a sentence for the person who speaks. */

const SENTENCES = {
  INSECURE_PAGE: "This page may not use the microphone: it must be opened over https or on this computer.",
  MICROPHONE_DENIED: "The browser does not let this page use the microphone. Allow it in the address bar, then try again.",
  NO_MICROPHONE: "No microphone was found. Connect one, then try again.",
  MICROPHONE_BUSY: "Another program is using the microphone. Close it, then try again.",
  MICROPHONE_GONE: "The microphone was disconnected. Trying to get it back, or another one.",
  MICROPHONE_MUTED: "The system or the browser has muted the microphone. Unmute it there.",
  MICROPHONE_SILENT: "This microphone gives no sound at all. Check its switch, or choose another one.",
  NO_FORMAT: "This browser cannot record sound for this service. Use a current Chrome, Edge, Firefox or Safari.",
  RECORDER_FAILED: "The recording was interrupted and has been started again.",
  TOKEN_FAILED: "The permission to speak could not be renewed. Your words are kept in this browser; trying again.",
  NOT_CONNECTED: "The service cannot be reached, or refuses this page. Your words are kept in this browser; trying again.",
  CHUNK_REFUSED: "The service refused a part of the recording. That part is not stored.",
  NOT_SPEAKER: "You may listen to this session, but not speak in it.",
  REPLACED: "This session is now spoken from another page. To speak from here again, start again.",
  SESSION_ENDED: "This session has ended. What is said now is not stored.",
  BUFFER_FULL: "Too much is waiting to be sent. Recording pauses until some of it has been sent.",
  NO_STORAGE: "This browser cannot keep unsent words on disk. Do not close or reload this page while some are waiting.",
  SERVICE_FAILED: "The service reported a problem. Tell its operator.",
} as const;

/** A short name that a program can act on. */
export type ErrorCode = keyof typeof SENTENCES;

/** Codes after which nothing that waits will ever be taken. */
export function isForGood(code: string): code is "NOT_SPEAKER" | "REPLACED" | "SESSION_ENDED" {
  return code === "NOT_SPEAKER" || code === "REPLACED" || code === "SESSION_ENDED";
}

/** A problem. `message` is a sentence for the person who speaks, `cause` is for whoever fixes it. */
export class AudioStreamError extends Error {
  /** What happened. */
  readonly code: ErrorCode;
  /** Recording has ended because of it. Where not, the service goes on by itself. */
  readonly fatal: boolean;

  constructor(code: ErrorCode, options: { fatal?: boolean; cause?: unknown } = {}) {
    super(SENTENCES[code], { cause: options.cause });
    this.name = "AudioStreamError";
    this.code = code;
    this.fatal = options.fatal ?? false;
  }
}
