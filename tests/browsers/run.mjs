// node run.mjs [--long] [--out FOLDER] [BROWSER...]: the whole scenario, in each browser, against `local-stack run`.

import { existsSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BROWSERS, program } from "./page.mjs";
import { Pulse } from "./pulse.mjs";
import { speak } from "./scenario.mjs";
import { speech } from "./sound.mjs";
import { Stack } from "./stack.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const arguments_ = process.argv.slice(2);
const long = arguments_.includes("--long");
const names = arguments_.filter((argument) => argument in BROWSERS);
const wanted = names.length ? names : Object.keys(BROWSERS);
const folder = join(root, "target/browsers", long ? "long" : "short");

const missing = wanted.filter((name) => !program(name));
if (missing.length) {
  console.error(`browsers: ${missing.join(" and ")} not found: scripts/setup.sh browsers installs them on Debian; CHROMIUM and FIREFOX name others`);
  process.exit(2);
}
const programs = process.env.KVS_BIN_DIR ?? join(root, "target/debug");
for (const name of ["local-stack", "kvsw"]) {
  if (existsSync(join(programs, name))) continue;
  console.error(`browsers: ${join(programs, name)} is missing: make browsers builds it`);
  process.exit(2);
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const outage = long ? 60 : 5;
const source = speech(long ? 300 : 150);
const [pulse, stack] = [new Pulse(), new Stack(programs)];
let failed = false;
try {
  await Promise.all([pulse.start(), stack.start()]);
  const began = Date.now();
  pulse.play(source);
  for (const name of wanted) for (const n of [2, 1]) pulse.plug(`${name}-${n}`);
  const ends = await Promise.allSettled(wanted.map((name) => speak(name, { stack, pulse, source, began, folder, outage })));
  for (const [i, { value, reason }] of ends.entries()) {
    if (reason) console.error(`browsers: FAILED: ${reason.message}`);
    else report(value);
    failed ||= reason !== undefined || value.wrong.length > 0;
    if (reason) console.error(`browsers: ${wanted[i]}: pictures in ${folder}`);
  }
} finally {
  await stack.stop();
  pulse.stop();
}
process.exitCode = failed ? 1 : 0;

function report({ name, session, notes, ledger, ages, windows, worst, moved, stumbles, wrong }) {
  const s = (ms) => `${(ms / 1_000).toFixed(1)} s`;
  const { audioMs, pauseMs } = ledger.time;
  console.log(`browsers: ${name}, session ${session}: ${notes.join(", ")}`);
  console.log(`browsers: ${name}: ${s(audioMs)} of sound, ${s(pauseMs)} of pauses, ${windows.length} windows of 1 s compared: correlation >= ${worst.toFixed(4)}, moved <= ${moved.toFixed(0)} ms${stumbles ? `; ${stumbles} more as the browser recorded them, which had stumbled itself` : ""}`);
  console.log(`browsers: ${name}: from the mouth to PERSISTED p50 ${s(ages.p50)}, p99 ${s(ages.p99)}`);
  for (const fault of wrong) console.error(`browsers: ${name}: FAILED: ${fault}`);
}
