// Type-checks and bundles test/*.test.ts, and runs them with node's own runner.
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "test", "--noEmit"], { stdio: "inherit" });
const wanted = process.argv[2] ?? "";
const tests = readdirSync("test").filter((name) => name.endsWith(".test.ts") && name.includes(wanted));
rmSync("build", { recursive: true, force: true });
await build({
  bundle: true,
  entryPoints: tests.map((name) => `test/${name}`),
  outdir: "build",
  outExtension: { ".js": ".mjs" },
  format: "esm",
  platform: "node",
  packages: "external",
  sourcemap: "inline",
  logLevel: "warning",
});
const files = tests.map((name) => `build/${name.replace(/\.ts$/, ".mjs")}`);
process.exit(spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-reporter=spec", ...files], { stdio: "inherit" }).status ?? 1);
