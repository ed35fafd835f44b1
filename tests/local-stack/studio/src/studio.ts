/** The studio: a person, a session, one button. */

import type { AudioStreamOptions, Outcome, State } from "../../../../worker/speaker/src/index.ts";
import { AudioStreamService } from "../../../../worker/speaker/src/index.ts";
import { offerDevices, rememberedDevice, showDevice } from "./devices.ts";
import { listenToKeys } from "./keys.ts";
import { followLevel } from "./meter.ts";
import { element, say, showCauses, showConnection, showCounts, showProblem, showSolved, showState, showTime } from "./page.ts";
import { View } from "./view.ts";

const query = new URLSearchParams(location.search);
const session = query.get("session") ?? "demo-1";
/** Of this tab: a reload in mid-speech goes on by itself. */
const SPEAKING = `studio.speaking.${session}`;
const CONSENT = `studio.consent.${session}`;
const SERVICE = "studio.service";

interface Grant {
  url: string;
  token: string;
}

async function grant(): Promise<Grant> {
  const response = await fetch("token", { method: "POST", body: JSON.stringify({ session }) });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as Grant;
}

/** Where the service is; known from an earlier load while the network is away. */
async function serviceUrl(): Promise<string> {
  const known = localStorage.getItem(SERVICE);
  const url = await grant().then(({ url }) => url, (error) => known ?? Promise.reject(error));
  localStorage.setItem(SERVICE, url);
  return url;
}

/** What `?timeslice=250&bitrate=32000&processing=off` changes. */
function options(url: string): AudioStreamOptions {
  const number = (name: string) => Number(query.get(name)) || undefined;
  const device = rememberedDevice();
  const timeslice = number("timeslice");
  const bitrate = number("bitrate");
  const off = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  return {
    url,
    session,
    token: async () => (await grant()).token,
    workletUrl: "pcm-worklet.js",
    statusEvery: 2_000,
    ...(device && { deviceId: device }),
    ...(timeslice && { timeslice }),
    ...(bitrate && { bitrate }),
    ...(query.get("processing") === "off" && { constraints: off }),
  };
}

class Studio {
  #service: AudioStreamService;
  #url: string;
  #state: State = "idle";
  #live = false;
  #microphone: string | undefined;
  #spokenMs = 0;
  #since: number | undefined;
  #fillDevices: () => Promise<void>;

  constructor(url: string) {
    this.#url = url;
    this.#service = this.#fresh();
    this.#fillDevices = offerDevices((deviceId) => void this.#service.use(deviceId).catch(showProblem));
    followLevel(() => ({ live: this.#live, muted: this.#service.muted, level: this.#service.level }));
    element("main").addEventListener("click", () => void this.#press());
    element("test").addEventListener("click", () => void this.#service.prepare().catch(() => {}));
    element("pause").addEventListener("click", () => this.#pause());
    element("mute").addEventListener("click", () => this.#mute(!this.#service.muted));
    element("consent").addEventListener("change", () => this.#consented());
    element("push-to-talk").addEventListener("change", () => this.#mute(this.#isPushToTalk));
    listenToKeys({
      pause: () => this.#pause(),
      mute: () => this.#isOn && this.#mute(!this.#service.muted),
      talk: (talking) => this.#talk(talking),
      isPushToTalk: () => this.#isOn && this.#isPushToTalk,
    });
    setInterval(() => showTime(this.#spoken), 250);
    addEventListener("pagehide", () => this.#isOn && sessionStorage.setItem(SPEAKING, String(this.#spoken)));
    element<HTMLInputElement>("consent").checked = sessionStorage.getItem(CONSENT) !== null;
    this.#consented();
  }

  /** Sends what was left, listens where that was allowed before, and goes on where a reload cut in. */
  async open(): Promise<void> {
    void this.#service.open();
    const allowed = await navigator.permissions
      ?.query({ name: "microphone" as PermissionName })
      .then(({ state }) => state === "granted")
      .catch(() => false);
    if (!allowed) return;
    const spoken = sessionStorage.getItem(SPEAKING);
    if (spoken !== null) {
      this.#spokenMs = Number(spoken);
      await this.#start();
    } else await this.#service.prepare().catch(() => {});
  }

  get #isOn(): boolean {
    return this.#state === "recording" || this.#state === "paused";
  }

  get #isPushToTalk(): boolean {
    return element<HTMLInputElement>("push-to-talk").checked;
  }

  get #spoken(): number {
    return this.#spokenMs + (this.#since === undefined ? 0 : performance.now() - this.#since);
  }

  /** One service speaks once. */
  #fresh(): AudioStreamService {
    const service = new AudioStreamService(options(this.#url));
    service.on("state", (state) => this.#to(state));
    service.on("connection", showConnection);
    service.on("counts", showCounts);
    service.on("status", showCauses);
    service.on("problem", showProblem);
    service.on("solved", (code) => showSolved(code, this.#isOn ? this.#microphone : undefined));
    service.on("format", ({ why }) => (element("format").textContent = why));
    service.on("awake", (awake) => {
      element("awake").textContent = awake ? "is kept on" : this.#isOn ? "may turn off, and then recording may stop" : "–";
    });
    service.on("microphone", ({ deviceId, label }) => {
      this.#live = true;
      this.#microphone = label || "another microphone";
      void this.#fillDevices().then(() => showDevice(deviceId));
      if (this.#isOn) say(`Recording from ${this.#microphone}.`);
    });
    return service;
  }

  #to(state: State): void {
    const was = this.#state;
    this.#state = state;
    if (state === "stopping" || state === "failed") this.#live = false;
    this.#spokenMs = this.#spoken;
    this.#since = state === "recording" ? performance.now() : undefined;
    showState(state, this.#service.muted);
    if (state === "recording") say(was === "paused" ? "Recording goes on." : "Recording.");
    if (state === "paused") say("Paused. Nothing is recorded.");
    if (state === "recording") sessionStorage.setItem(SPEAKING, "0");
    if (state === "stopping" || state === "failed") sessionStorage.removeItem(SPEAKING);
    element<HTMLButtonElement>("main").disabled = state === "stopping" || state === "starting" || !this.#hasConsent;
  }

  async #press(): Promise<void> {
    if (!this.#isOn) return this.#start();
    say("Stopped. Storing the last words.");
    this.#ended(await this.#service.stop());
  }

  async #start(): Promise<void> {
    if (this.#state === "stopped") {
      this.#service = this.#fresh();
      this.#spokenMs = 0;
    }
    await this.#service.start().then(
      () => this.#mute(this.#isPushToTalk),
      () => {}, // shown as a problem
    );
  }

  #ended({ stored, counts }: Outcome): void {
    const s = (ms: number) => `${Math.floor(ms / 1_000)} s`;
    if (stored) say(`Everything is stored: ${s(counts.stored)}.`);
    else if (counts.missing) say(`${s(counts.stored)} are stored. ${Math.ceil(counts.missing / 1_000)} s are missing: tell the operator.`);
    else say(`${s(counts.stored)} are stored. The service has the other ${Math.ceil(counts.sent / 1_000)} s, but does not say yet that they are stored.`);
  }

  #pause(): void {
    if (this.#state === "recording") void this.#service.pause();
    else if (this.#state === "paused") void this.#service.resume();
  }

  #mute(muted: boolean): void {
    const changes = this.#service.muted !== muted;
    this.#service.mute(muted);
    showState(this.#state, muted);
    if (this.#isOn && changes && !this.#isPushToTalk) say(muted ? "Muted: silence is recorded." : "Unmuted.");
  }

  #talk(talking: boolean): void {
    if (!this.#isOn || !this.#isPushToTalk) return;
    this.#mute(!talking);
    element("talk").setAttribute("aria-pressed", String(talking));
  }

  get #hasConsent(): boolean {
    return element<HTMLInputElement>("consent").checked;
  }

  #consented(): void {
    if (this.#hasConsent) sessionStorage.setItem(CONSENT, "");
    else sessionStorage.removeItem(CONSENT);
    element<HTMLButtonElement>("main").disabled = !this.#hasConsent;
  }
}

element("session").textContent = session;
try {
  const url = await serviceUrl();
  element("service").textContent = url;
  new View(session);
  await new Studio(url).open();
} catch (error) {
  element("connection").textContent = "The local stack does not answer. Is `make run` still running? Reload the page then.";
  console.warn(error);
}
