// What the stack tells of a session while it happens.

/** Reads the studio's server-sent events until the stack ends. */
export class Events {
  lines = [];

  constructor(url, session) {
    void this.#read(new URL(`events?session=${session}`, url)).catch(() => {}); // the stack has ended
  }

  async #read(url) {
    const { body } = await fetch(url);
    let text = "";
    const decoder = new TextDecoder();
    for await (const bytes of body) {
      text += decoder.decode(bytes, { stream: true });
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2))
        if (text.startsWith("data: ")) this.lines.push(JSON.parse(text.slice(6, end)));
    }
  }

  /**
   * How long a sound takes from the mouth to PERSISTED, ms: quantiles over all that was said from `from` to `to` (epoch ms).
   * A chunk's sound lasts from the chunk before it to its own time.
   */
  ages(from, to) {
    const chunks = new Map();
    const ages = [];
    for (const line of this.lines) {
      if (line.event === "chunkSent") chunks.set(line.chunkIndex, line.capturedMs);
      if (line.event !== "fragmentWritten") continue;
      for (let index = line.chunkFirst; index <= line.chunkLast; index++) {
        const [begins, ends] = [chunks.get(index - 1), chunks.get(index)];
        if (begins === undefined || !(from <= begins && ends <= to)) continue;
        for (let at = begins; at < ends; at += 20) ages.push(line.timestampMs - at);
      }
    }
    ages.sort((a, b) => a - b);
    const quantile = (part) => ages[Math.min(ages.length - 1, Math.floor(part * ages.length))];
    return { p50: quantile(0.5), p99: quantile(0.99), seconds: ages.length / 50 };
  }
}
