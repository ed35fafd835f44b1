/** Keeps the screen on while somebody speaks: a locked phone stops to record. */
export class WakeLock {
  #wanted = false;
  #sentinel: WakeLockSentinel | undefined;
  #changed: (held: boolean) => void;

  constructor(changed: (held: boolean) => void) {
    this.#changed = changed;
  }

  /** Holds it, and takes it again each time that the page is visible again. */
  async hold(): Promise<void> {
    if (!this.#wanted) document.addEventListener("visibilitychange", this.#visible);
    this.#wanted = true;
    try {
      const sentinel = await navigator.wakeLock.request("screen");
      if (!this.#wanted) return void sentinel.release();
      this.#sentinel = sentinel;
      sentinel.onrelease = () => this.#changed(false);
      this.#changed(true);
    } catch {
      this.#changed(false); // hidden, low on battery, or not in this browser
    }
  }

  release(): void {
    this.#wanted = false;
    document.removeEventListener("visibilitychange", this.#visible);
    void this.#sentinel?.release();
    this.#sentinel = undefined;
  }

  #visible = (): void => {
    if (document.visibilityState === "visible" && this.#sentinel?.released !== false) void this.hold();
  };
}
