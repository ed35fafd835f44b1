// Microphones: PulseAudio with a sink that nobody hears, and two sources that hear it.

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RATE, wav } from "./sound.mjs";
import { until } from "./wait.mjs";

const SINK = "room";

/** A daemon of this test's own. */
export class Pulse {
  #folder = mkdtempSync(join(tmpdir(), "kvs-pulse-"));
  #daemon;
  #players = [];
  #modules = new Map();

  /** What a program needs to find it, and no other. */
  get environment() {
    const { PATH, LANG, TZ } = process.env;
    return { ...(PATH && { PATH }), ...(LANG && { LANG }), ...(TZ && { TZ }), HOME: this.#folder, XDG_RUNTIME_DIR: this.#folder, PULSE_SERVER: this.#server };
  }

  get #server() {
    return `unix:${join(this.#folder, "socket")}`;
  }

  async start() {
    mkdirSync(join(this.#folder, ".config/pulse"), { recursive: true });
    writeFileSync(join(this.#folder, ".config/pulse/daemon.conf"), `default-sample-rate = ${RATE}\nresample-method = speex-float-5\n`);
    const modules = [
      `module-native-protocol-unix socket=${join(this.#folder, "socket")} auth-anonymous=1`,
      `module-cli-protocol-unix socket=${join(this.#folder, "cli")}`,
      `module-null-sink sink_name=${SINK} rate=${RATE} channels=1`,
    ];
    const options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disallow-module-loading=no"];
    const env = { ...this.environment };
    delete env.PULSE_SERVER; // it would only be a client
    this.#daemon = spawn("pulseaudio", [...options, ...modules.flatMap((module) => ["-L", module])], { env, stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    this.#daemon.stderr.on("data", (data) => (said += data));
    await until("PulseAudio answers", 10_000, () => {
      if (this.#daemon.exitCode !== null) throw new Error(`pulseaudio has ended: ${said}`);
      try {
        return this.#pactl("info");
      } catch {
        return undefined;
      }
    });
  }

  #pactl(...command) {
    return execFileSync("pactl", command, { env: this.environment, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  }

  /** Plugs a microphone in. */
  plug(name) {
    const source = [`source_name=${name}`, `source_properties=device.description=${name}`, `master=${SINK}.monitor`, "channels=1", `rate=${RATE}`];
    this.#modules.set(name, this.#pactl("load-module", "module-remap-source", ...source, "remix=no").trim());
  }

  /** Pulls it out, and ends what listens to it: PulseAudio would let that listen to another one. */
  async unplug(name) {
    const rows = (kind) => this.#pactl("list", "short", kind).trim().split("\n").map((line) => line.split("\t"));
    const [source] = rows("sources").find(([, called]) => called === name);
    const listeners = rows("source-outputs").filter(([, on, client]) => on === source && client !== "-");
    this.#pactl("unload-module", this.#modules.get(name));
    this.#modules.delete(name);
    await this.#command(...listeners.map(([listener]) => `kill-source-output ${listener}`));
  }

  /** It gives nothing but zeros, as one that the system or a switch has muted. */
  silence(name, is) {
    this.#pactl("set-source-mute", name, is ? "1" : "0");
  }

  /** What pactl cannot say. */
  #command(...lines) {
    return new Promise((resolve, reject) => {
      const socket = connect(join(this.#folder, "cli"), () => socket.end([...lines, ""].join("\n")));
      socket.resume().once("close", resolve).once("error", reject);
    });
  }

  /** Plays these samples from now on. */
  play(samples) {
    const file = join(this.#folder, "speech.wav");
    writeFileSync(file, wav(samples));
    this.#players.push(spawn("paplay", [`--device=${SINK}`, file], { env: this.environment, stdio: "ignore" }));
  }

  /** Silence, and no microphones. */
  clear() {
    for (const player of this.#players.splice(0)) player.kill();
    for (const module of this.#modules.values()) this.#pactl("unload-module", module);
    this.#modules.clear();
  }

  stop() {
    for (const process of [...this.#players, this.#daemon]) process?.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
