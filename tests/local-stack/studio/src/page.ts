/** The page's elements, and what is written into them. */

import type { AudioStreamError, ConnectionState, Counts, ErrorCode, SessionStatus, State } from "../../../../worker/speaker/src/index.ts";

/** An element of index.html. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no #${id}`);
  return found as T;
}

const button = (id: string) => element<HTMLButtonElement>(id);

const STATES: Record<State, string> = {
  idle: "Not recording",
  starting: "Asking for the microphone",
  recording: "Recording",
  paused: "Paused: nothing is recorded",
  stopping: "Not recording. The last words are being stored",
  stopped: "Not recording",
  failed: "Not recording",
};

/** One message at a time, for those who do not see the page, and shown where it stands nowhere else. The same words twice are said once. */
export function say(text: string, shown = true): void {
  const region = element("say");
  region.classList.toggle("unseen", !shown);
  if (region.textContent !== text) region.textContent = text;
}

export function showState(state: State, muted: boolean): void {
  document.body.dataset.state = state;
  const on = state === "recording" || state === "paused";
  const silent = state === "recording" && muted;
  const text = silent ? "Recording silence: the microphone is muted" : STATES[state];
  element("state").textContent = text;
  document.title = `${on ? (state === "recording" ? "● " : "❚❚ ") : ""}Studio`;
  const main = button("main");
  main.textContent = on ? "Stop" : state === "stopping" ? "Storing …" : "Start speaking";
  for (const id of ["pause", "mute"]) button(id).hidden = !on;
  button("talk").hidden = !on || !element<HTMLInputElement>("push-to-talk").checked;
  button("pause").textContent = state === "paused" ? "Go on" : "Pause";
  button("mute").setAttribute("aria-pressed", String(muted));
  element("consent-row").hidden = on || state === "stopping";
}

/** Less is never said to be waiting, and more never to be stored, than is. */
export function showCounts({ waiting, sent, stored, missing }: Counts): void {
  element("waiting").textContent = seconds(Math.ceil(waiting / 1_000));
  element("sent").textContent = seconds(Math.round(sent / 1_000));
  element("stored").textContent = seconds(Math.floor(stored / 1_000));
  element("missing").textContent = seconds(Math.ceil(missing / 1_000));
  element("missing-row").hidden = missing === 0;
}

/** Why sound is missing, in the words of the operator's tools. */
export function showCauses({ gaps }: SessionStatus): void {
  const causes = new Set(gaps.map(({ reason, cause }) => cause ?? reason.toLowerCase().replace("_", " ")));
  element("causes").textContent = [...causes].join(", ");
}

function seconds(count: number): string {
  return `${count} s`;
}

/** The time that was spoken, as 1:02:03. */
export function showTime(ms: number): void {
  const s = Math.floor(ms / 1_000);
  const two = (n: number) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(s / 3_600), Math.floor(s / 60) % 60];
  element("timer").textContent = hours ? `${hours}:${two(minutes)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`;
}

export function showConnection(state: ConnectionState): void {
  const text = {
    closed: () => "Not connected.",
    connecting: () => "Connecting …",
    open: () => "Connected.",
    waiting: (retryMs: number, offline: boolean) =>
      `${offline ? "No network." : "Not connected."} Trying again within ${Math.ceil(retryMs / 1_000)} s.`,
  };
  element("connection").textContent =
    state.state === "waiting" ? text.waiting(state.retryMs, state.offline) : text[state.state]();
}

const shown = new Map<ErrorCode, HTMLElement>();

export function showProblem(error: AudioStreamError): void {
  const line = shown.get(error.code) ?? document.createElement("li");
  line.textContent = error.message;
  element("problems").append(line);
  shown.set(error.code, line);
  say(error.message, false);
}

/** `microphone`: the one that records now. */
export function showSolved(code: ErrorCode, microphone: string | undefined): void {
  const line = shown.get(code);
  const isSaid = line !== undefined && element("say").textContent === line.textContent;
  const isHeard = microphone !== undefined && (code.startsWith("MICROPHONE_") || code === "RECORDER_FAILED");
  if (isSaid && isHeard) say(`Recording from ${microphone}.`);
  else if (isSaid) say(code === "NOT_CONNECTED" || code === "TOKEN_FAILED" ? "Connected again." : "That has passed.");
  line?.remove();
  shown.delete(code);
}
