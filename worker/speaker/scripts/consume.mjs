// Installs the packed package into an empty Vite project, type-checks a page that uses it, and builds that.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const speaker = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = mkdtempSync(join(tmpdir(), "kvs-speaker-"));
const npm = (cwd, ...args) => execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
const write = (name, text) => writeFileSync(join(folder, name), text);
try {
  const [packed] = JSON.parse(npm(speaker, "pack", "--json", "--ignore-scripts", "--pack-destination", folder));
  const strange = packed.files.map(({ path }) => path).filter((path) => !/^(dist\/[a-z-]+\.(js|d\.ts)|README\.md|LICENSE-(MIT|APACHE)|package\.json)$/.test(path));
  const lacking = ["dist/index.js", "dist/index.d.ts", "dist/pcm-worklet.js", "README.md", "LICENSE-MIT", "LICENSE-APACHE"].filter(
    (wanted) => !packed.files.some(({ path }) => path === wanted),
  );
  if (strange.length || lacking.length) throw new Error(`the package must not hold ${strange}, and lacks ${lacking}`);
  write("package.json", JSON.stringify({ name: "page", private: true, type: "module" }));
  write(".npmrc", "fund=false\naudit=false\nignore-scripts=true\n");
  write("tsconfig.json", JSON.stringify({
    compilerOptions: {
      target: "ES2022", module: "ESNext", moduleResolution: "bundler", strict: true, noEmit: true, skipLibCheck: false,
      lib: ["ES2022", "DOM", "DOM.Iterable"], types: ["vite/client"],
    },
    include: ["main.ts", "types.ts"],
  }));
  const [html, page] = [...readFileSync(join(speaker, "README.md"), "utf8").matchAll(/```(?:html|ts)\n([^]*?)```/g)].map(([, text]) => text);
  write("index.html", `<!doctype html><html lang="en"><title>page</title><body>${html}</body></html>`);
  write("main.ts", page); // the example of the README
  write("types.ts", `
import { AudioStreamError, AudioStreamService } from "kvs-speaker";
import type { Counts, State } from "kvs-speaker";

const service = new AudioStreamService({ url: "wss://example.com/live", session: "fox", token: async () => "t" });
let state: State = service.state;
service.on("state", (next) => (state = next));
service.on("counts", (counts: Counts) => console.log(state, counts.waiting));
service.on("problem", (problem) => console.log(problem instanceof AudioStreamError && problem.code satisfies string));
// @ts-expect-error there is no such event
service.on("nothing", () => {});
`);
  npm(folder, "install", "--save-dev", "--no-package-lock", "vite@6.4.6", "typescript@5.9.3", join(folder, packed.filename));
  for (const command of [["tsc", "-p", "."], ["vite", "build", "--logLevel", "warn"]]) npm(folder, "exec", "--", ...command);
  const assets = readdirSync(join(folder, "dist/assets"));
  if (!assets.some((name) => name.startsWith("pcm-worklet"))) throw new Error(`the worklet is not among ${assets}`);
  console.log(`kvs-speaker: ${packed.filename} of ${packed.size} bytes type-checks and builds in an empty Vite project`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
