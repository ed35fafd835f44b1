// Builds dist/: the module in one file, the worklet beside it, the types. Fails where the module is too large.
import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const GZIP_MAX = 10_000;

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);
rmSync("dist", { recursive: true, force: true });
const common = { bundle: true, minify: true, format: "esm", target: "es2022", legalComments: "none", logLevel: "warning" };
await build({ ...common, entryPoints: ["src/index.ts"], outfile: "dist/index.js" });
await build({ ...common, entryPoints: ["src/pcm-worklet.ts"], outfile: "dist/pcm-worklet.js" });
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "."], { stdio: "inherit" });

for (const licence of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(join("../..", licence), licence);

const gzip = gzipSync(readFileSync("dist/index.js"), { level: 9 }).length;
console.log(`kvs-speaker: ${gzip} bytes gzip, of ${GZIP_MAX} allowed`);
if (gzip > GZIP_MAX) process.exit(1);
