/** The token that opens a connection, renewed before it expires: when the network drops, one that still holds is at hand. */

import { AudioStreamError } from "./errors.ts";

/** A JSON Web Token, and when it expires if it does not say so itself (epoch ms). */
export type Token = string | { token: string; expiresAt?: number };

/** Renewed so long before it expires, or after half its life if that is later. */
const EARLY_MS = 60_000;
/** Not used for a new connection if it expires within this. */
const MARGIN_MS = 5_000;
/** Where no new token is to be had, the one at hand is used so seldom. */
const EVERY = 4;
/** The longest delay that a timer takes. */
const LONGEST_MS = 2 ** 31 - 1;

export class TokenSource {
  #give: () => Promise<Token>;
  #token: string | undefined;
  #expiresAt = 0;
  #doubted = false;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(give: () => Promise<Token>) {
    this.#give = give;
  }

  /**
   * A token that holds. Where none is to be had, the network is away, as a rule: then a WebSocket would fail too, and Firefox makes
   * those that follow wait for up to a minute. The issuer alone may be away, so now and then the token at hand is given.
   */
  async get(): Promise<string> {
    const holds = this.#token !== undefined && Date.now() < this.#expiresAt - MARGIN_MS;
    if (holds && !this.#doubted) return this.#token as string;
    const given = await this.#give().catch((cause: unknown): Token => {
      if (!holds) throw new AudioStreamError(cause instanceof TypeError ? "NOT_CONNECTED" : "TOKEN_FAILED", { cause }); // `fetch` says so
      if (this.#failures++ % EVERY) throw new AudioStreamError("NOT_CONNECTED", { cause });
      return { token: this.#token as string, expiresAt: this.#expiresAt };
    });
    this.#doubted = false;
    const { token, expiresAt = expiry(token) } = typeof given === "string" ? { token: given } : given;
    this.stop();
    if (token !== this.#token) this.#failures = 0; // a fresh one
    this.#token = token;
    this.#expiresAt = expiresAt ?? 0; // unknown: asked for each time
    const left = this.#expiresAt - Date.now(); // below 0, too, where this computer's clock is ahead
    if (left > 0) this.#timer = setTimeout(() => this.#renew(), Math.min(LONGEST_MS, Math.max(left - EARLY_MS, left / 2, 1_000)));
    return token;
  }

  /** The connection was refused: perhaps because of the token. */
  forget(): void {
    this.#doubted = true;
  }

  /** No more renewals. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #renew(): void {
    this.#doubted = true;
    this.get().catch(() => {}); // the next connection asks again
  }
}

/** `exp` of a JSON Web Token, in ms. */
export function expiry(token: string): number | undefined {
  try {
    const claims = JSON.parse(atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")));
    return typeof claims.exp === "number" ? claims.exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}
