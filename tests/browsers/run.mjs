// node run.mjs [--long] [--only=N] [BROWSER...]: a person's whole talk in each browser at the same time, against `local-stack run`. With
// --long the network is away for a minute, another talk has a blob of a megabyte, and a third one chunks of 250 ms; --only=3 tells the
// third of them alone. CI=1: every browser must be there.

import { existsSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BROWSERS, program } from "./page.mjs";
import { Pulse } from "./pulse.mjs";
import { everything, hugeBlob, judge, speak } from "./scenario.mjs";
import { speech } from "./sound.mjs";
import { Stack } from "./stack.mjs";
import { Meeting, Turns } from "./wait.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const arguments_ = process.argv.slice(2);
const long = arguments_.includes("--long");
const only = Number(arguments_.find((argument) => argument.startsWith("--only="))?.slice(7));
const names = arguments_.filter((argument) => argument in BROWSERS);
const wanted = names.length ? names : Object.keys(BROWSERS);
const folder = join(root, "target/browsers", long ? "long" : "short");

const missing = wanted.filter((name) => !program(name));
const why = process.platform === "linux" ? "not found: `scripts/setup.sh browsers` installs it on Debian; CHROMIUM and FIREFOX name others" : "its microphone would be PulseAudio on Linux";
for (const name of missing) console.error(`browsers: ******** ${name} IS NOT TESTED: ${why} ********`);
if (missing.length === wanted.length || (missing.length && process.env.CI)) process.exit(process.env.CI ? 1 : 0);
const programs = process.env.KVS_BIN_DIR ?? join(root, "target/debug");
for (const name of ["local-stack", "kvsw"]) {
  if (existsSync(join(programs, name))) continue;
  console.error(`browsers: ${join(programs, name)} is missing: make browsers builds it`);
  process.exit(2);
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const stories = long ? [[everything(60), ""], [hugeBlob, "&bitrate=256000"], [everything(5), "&timeslice=250"]] : [[everything(5), ""]];
const [pulse, stack] = [new Pulse(), new Stack(programs)];
let failed = false;
try {
  await Promise.all([pulse.start(), stack.start()]);
  for (const [n, [story, query]] of stories.entries()) {
    if (!only || only === n + 1) await tell(story, query, join(folder, String(n + 1)));
  }
} finally {
  await stack.stop();
  pulse.stop();
}
process.exitCode = failed ? 1 : 0;

/** The same story in each browser at the same time. */
async function tell(story, query, folder) {
  const names = wanted.filter((name) => !missing.includes(name));
  for (const name of names) for (const n of [2, 1]) pulse.plug(`${name}-${n}`);
  const source = speech(long ? 300 : 200);
  const [meeting, turns] = [new Meeting(names.length), new Turns()];
  const began = Date.now();
  pulse.play(source);
  const ends = await Promise.allSettled(names.map((name) => speak(name, { stack, pulse, folder, story, query, meeting, turns })));
  pulse.clear();
  for (const { value, reason } of ends) {
    const judged = value && judge(value, source, began);
    if (judged) report(judged);
    else console.error(`browsers: FAILED: ${reason.message}; pictures in ${folder}`);
    failed ||= !judged || judged.wrong.length > 0;
  }
}

function report({ name, session, notes, ledger, ages, windows, worst, moved, stumbles, wrong }) {
  const s = (ms) => `${(ms / 1_000).toFixed(1)} s`;
  const { audioMs, pauseMs } = ledger.time;
  console.log(`browsers: ${name}, session ${session}: ${notes.join(", ")}`);
  console.log(`browsers: ${name}: ${s(audioMs)} of sound, ${s(pauseMs)} of pauses, ${windows.length - stumbles} windows of 1 s compared: correlation >= ${worst.toFixed(4)}, moved <= ${moved.toFixed(0)} ms${stumbles ? `; ${stumbles} more as the browser recorded them, which had stumbled itself` : ""}`);
  if (ages) console.log(`browsers: ${name}: from the mouth to PERSISTED p50 ${s(ages.p50)}, p99 ${s(ages.p99)}`);
  for (const fault of wrong) console.error(`browsers: ${name}: FAILED: ${fault}`);
}
