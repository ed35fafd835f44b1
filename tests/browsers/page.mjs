// The studio's page in a real browser, used as a person without a mouse uses it.

import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import puppeteer from "puppeteer-core";
import { until } from "./wait.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** What a browser itself says when a connection is refused or breaks. */
const NETWORK = /WebSocket|ws:\/\/|can.t establish a connection|interrupted while the page was loading|503/;

/** The browsers, and what makes each take the microphone without asking and without the network. */
export const BROWSERS = {
  chromium: {
    programs: ["/usr/bin/chromium", "/usr/bin/chromium-browser"],
    options: {
      browser: "chrome",
      args: [
        "--use-fake-ui-for-media-stream",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
        "--no-first-run",
        "--force-prefers-reduced-motion",
        ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
      ],
    },
  },
  firefox: {
    programs: ["/usr/bin/firefox-esr", "/usr/bin/firefox"],
    options: {
      browser: "firefox",
      extraPrefsFirefox: { "permissions.default.microphone": 1, "media.navigator.permission.disabled": true, "media.autoplay.default": 0, "media.cubeb_latency_mtg_frames": 4096 },
    },
  },
};

/** Where a browser is; CHROMIUM and FIREFOX name others. */
export function program(name) {
  const chosen = process.env[name.toUpperCase()];
  return (chosen ? [chosen] : BROWSERS[name].programs).find((path) => existsSync(path));
}

export class Page {
  #browser;
  #page;
  #folder;
  #shots = 0;
  /** What went wrong on the page, as it tells. */
  complaints = [];
  /** The network was away on purpose: the browsers say so, Firefox seconds later. */
  wasOffline = false;

  static async open(name, { environment, folder, url, prepare }) {
    const { options } = BROWSERS[name];
    const page = new Page();
    page.#folder = folder;
    mkdirSync(folder, { recursive: true });
    const common = { headless: true, executablePath: program(name), env: environment, defaultViewport: { width: 1_000, height: 1_000 } };
    page.#browser = await puppeteer.launch({ ...options, ...common });
    page.#page = await page.#browser.newPage();
    page.#page.on("console", (message) => ["error", "warn"].includes(message.type()) && page.#hear(message.text()));
    page.#page.on("pageerror", (error) => page.#hear(String(error)));
    if (prepare) await page.#page.evaluateOnNewDocument(prepare);
    await page.#page.goto(url);
    return page;
  }

  #hear(words) {
    if (this.wasOffline && NETWORK.test(words)) return;
    this.complaints.push(words.replace(/token=[^&\s]+/g, "token=…"));
  }

  evaluate(work, ...values) {
    return this.#page.evaluate(work, ...values);
  }

  reload() {
    return this.#page.reload();
  }

  close() {
    return this.#browser.close();
  }

  text(id) {
    return this.evaluate((id) => document.getElementById(id)?.textContent.trim() ?? "", id);
  }

  /** Until the element says so. */
  says(id, words, ms) {
    return until(`#${id} says ${words}`, ms, async () => {
      const text = await this.text(id);
      return words.test(text) ? text : undefined;
    }).catch(async (error) => {
      throw new Error(`${error.message}; it says "${await this.text(id)}"; problems: "${await this.text("problems")}"`);
    });
  }

  /** Goes to a control by the tab key, forwards or backwards, and presses a key there. */
  async press(id, key = " ") {
    const where = (id) => {
      const [from, to] = [document.activeElement ?? document.body, document.getElementById(id)];
      if (from === to) return "here";
      return from !== document.body && from.compareDocumentPosition(to) & Node.DOCUMENT_POSITION_PRECEDING ? "before" : "after";
    };
    for (let tabs = 0; tabs < 40; tabs++) {
      const is = await this.evaluate(where, id);
      if (is === "here") return this.#page.keyboard.press(key);
      if (is === "before") await this.#page.keyboard.down("Shift");
      await this.#page.keyboard.press("Tab");
      if (is === "before") await this.#page.keyboard.up("Shift");
    }
    throw new Error(`#${id} cannot be reached by the tab key`);
  }

  /** Chooses from a list what is called so. */
  async choose(id, label) {
    const value = await until(`#${id} offers ${label}`, 10_000, () =>
      this.evaluate((id, label) => [...document.getElementById(id).options].find(({ text }) => text.includes(label))?.value, id, label),
    );
    await this.#page.select(`#${id}`, value);
  }

  key(key) {
    return this.#page.keyboard.press(key);
  }

  /** The page as it is now: looked at by axe, and kept as a picture. */
  async look(state) {
    await this.#page.screenshot({ path: join(this.#folder, `${String(++this.#shots).padStart(2, "0")}-${state}.png`), fullPage: true });
    const found = await this.evaluate(async (axe) => {
      if (!window.axe) (0, eval)(axe);
      const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
    }, AXE);
    for (const finding of found) this.complaints.push(`axe, ${state}: ${finding}`);
  }

  /** Narrow, dark, large letters: the page in other circumstances. */
  async lookAround(state) {
    const views = { phone: { width: 320, height: 700 }, zoomed: { width: 500, height: 500, deviceScaleFactor: 2 } };
    for (const [name, viewport] of Object.entries(views)) {
      await this.#page.setViewport(viewport);
      await this.look(`${state}-${name}`);
      const wide = await this.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 0) this.complaints.push(`${state}, ${name}: ${wide} px wider than the window`);
    }
    await this.#page.setViewport({ width: 1_000, height: 1_000 });
    await this.#page.emulateMediaFeatures?.([{ name: "prefers-color-scheme", value: "dark" }]).then(
      async () => {
        await this.look(`${state}-dark`);
        await this.#page.emulateMediaFeatures([]);
      },
      () => {}, // this driver cannot, in Firefox
    );
  }
}
