// Builds the scripts of the local stack's studio, which are committed so that `make demo` needs no node.
// With --check nothing is written: fails where what is committed is not what the sources give.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const speaker = join(dirname(fileURLToPath(import.meta.url)), "..");
const studio = join(speaker, "../../tests/local-stack/studio");
execFileSync(process.execPath, [join(speaker, "node_modules/typescript/bin/tsc"), "-p", studio], { stdio: "inherit" });
const { outputFiles } = await build({
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  logLevel: "warning",
  write: false,
  absWorkingDir: join(speaker, "../.."),
  entryPoints: {
    studio: join(studio, "src/studio.ts"),
    "pcm-worklet": join(speaker, "src/pcm-worklet.ts"),
  },
  outdir: join(studio, "dist"),
});
let stale = false;
for (const { path, text } of outputFiles) {
  if (process.argv.includes("--check")) {
    const fresh = existsSync(path) && readFileSync(path, "utf8") === text;
    if (!fresh) console.error(`${path} is not what its sources give: run make studio, and commit it`);
    stale ||= !fresh;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}
process.exit(stale ? 1 : 0);
