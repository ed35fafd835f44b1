// The local stack as `make run` starts it, and the operator's tool.

import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { until } from "./wait.mjs";

const run = promisify(execFile);

export class Stack {
  #programs;
  #child;
  #said = "";

  constructor(programs) {
    this.#programs = programs;
  }

  async start() {
    const options = ["run", "--studio-port", "0"];
    this.#child = spawn(join(this.#programs, "local-stack"), options, { stdio: ["ignore", "pipe", "pipe"] });
    this.#child.stdout.on("data", (data) => (this.#said += data));
    this.#child.stderr.on("data", (data) => (this.#said += data));
    this.url = await until("the stack is up", 60_000, () => {
      if (this.#child.exitCode !== null) throw new Error(`the stack has ended: ${this.#said}`);
      return /Speak\s+(http:\/\/[^/]+\/)/.exec(this.#said)?.[1];
    });
    const exports = [...this.#said.matchAll(/^ +export (.*)$/gm)].flatMap(([, names]) => names.split(" "));
    const variables = exports.map((variable) => [variable.slice(0, variable.indexOf("=")), variable.slice(variable.indexOf("=") + 1)]);
    this.#environment = { PATH: process.env.PATH, ...Object.fromEntries(variables) };
  }

  #environment = {};

  /** An act of the studio's page. */
  async act(session, what) {
    const headers = { origin: this.url.slice(0, -1), "content-type": "application/json" };
    const answer = await fetch(new URL("act", this.url), { method: "POST", headers, body: JSON.stringify({ session, ...what }) });
    if (!answer.ok) throw new Error(`${what.what}: ${await answer.text()}`);
    return answer.json();
  }

  async #kvsw(...command) {
    // Exit code 1: it has found something, and says what.
    const said = await run(join(this.#programs, "kvsw"), ["--json", ...command], { env: this.#environment, maxBuffer: 2 ** 26 }).catch((error) => {
      if (error.code === 1 && error.stdout) return error;
      throw error;
    });
    return JSON.parse(said.stdout);
  }

  /** Where every chunk and millisecond of the session is. */
  ledger(session) {
    return this.#kvsw("session", "show", session);
  }

  /** All samples of the session's stream, one after the other, as a WAV file. */
  async sound(session, file) {
    await this.#kvsw("session", "export", session, "--force", "--out", file);
    return readFileSync(file);
  }

  async stop() {
    if (!this.#child || this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    await ended;
  }
}
