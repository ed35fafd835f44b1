/** A typed emitter: a listener that fails disturbs neither the others nor the service. */
export class Emitter<Events> {
  #listeners = new Map<keyof Events, Set<(value: never) => void>>();

  /** Calls `listener` at each event of this type; returns what ends that. */
  on<K extends keyof Events>(type: K, listener: (value: Events[K]) => void): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  protected emit<K extends keyof Events>(type: K, value: Events[K]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        (listener as (value: Events[K]) => void)(value);
      } catch (error) {
        setTimeout(() => {
          throw error; // shown in the console, as an error of the listener
        });
      }
    }
  }
}
