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

  /** Every chunk that came: when its sound began and ended by the page's clock, and when it was persisted, epoch ms. */
  chunks() {
    const chunks = new Map();
    for (const line of this.lines) {
      const key = `${line.chunkIndex} ${line.capturedMs}`;
      if (line.event === "chunkSent" && !chunks.has(key)) chunks.set(key, { index: line.chunkIndex, ends: line.capturedMs });
      if (line.event !== "fragmentWritten") continue;
      // Each load of a page counts from 0, and they come one after the other: of several with this index, the oldest.
      for (let index = line.chunkFirst; index <= line.chunkLast; index++) {
        const chunk = [...chunks.values()].find((chunk) => chunk.index === index && chunk.persisted === undefined);
        if (chunk) chunk.persisted = line.timestampMs;
      }
    }
    const sorted = [...chunks.values()].sort((a, b) => a.ends - b.ends || a.index - b.index);
    return sorted.map((chunk, i) => ({ ...chunk, begins: sorted[i - 1]?.ends ?? chunk.ends }));
  }

  /** How long a sound takes from the mouth to PERSISTED, ms: quantiles over all that was said from `from` to `to` (epoch ms). */
  ages(from, to) {
    const ages = [];
    for (const { begins, ends, persisted } of this.chunks())
      if (from <= begins && ends <= to) for (let at = begins; at < ends; at += 20) ages.push(persisted - at);
    ages.sort((a, b) => a - b);
    const quantile = (part) => ages[Math.min(ages.length - 1, Math.floor(part * ages.length))];
    return { p50: quantile(0.5), p99: quantile(0.99) };
  }

  /** How long after `moment` (epoch ms) the last of what had been said until then was persisted, ms. */
  storedAfter(moment) {
    return Math.max(...this.chunks().flatMap(({ ends, persisted }) => (ends <= moment ? [persisted - moment] : [])));
  }
}
