import { IpeError } from '@ipe/core';

/** Tokens with a bucket of their own at a time; the fullest ones are forgotten first, which loses nothing. */
const bucketsMax = 10_000;

/** Requests a second by token: a bucket that holds one second's worth and refills steadily. */
export class RateLimiter {
  readonly #perSecond: number;
  readonly #now: () => number;
  readonly #buckets = new Map<string, { level: number; at: number }>();

  /** @param perSecond 0: no limit. */
  constructor(perSecond: number, now: () => number) {
    this.#perSecond = perSecond;
    this.#now = now;
  }

  /** Counts one request. @throws IpeError `rate_limited` with `retry_after` in seconds. */
  take(tokenId: string): void {
    if (this.#perSecond === 0) return;
    const now = this.#now();
    let bucket = this.#buckets.get(tokenId);
    if (bucket === undefined) {
      if (this.#buckets.size >= bucketsMax) this.#forgetFull(now);
      bucket = { level: this.#perSecond, at: now };
      this.#buckets.set(tokenId, bucket);
    }
    bucket.level = Math.min(this.#perSecond, bucket.level + ((now - bucket.at) / 1000) * this.#perSecond);
    bucket.at = now;
    if (bucket.level < 1) {
      const retryAfter = (1 - bucket.level) / this.#perSecond;
      throw new IpeError('rate_limited', `more than ${this.#perSecond} requests a second with this token`, {
        details: { retry_after: Math.ceil(retryAfter * 1000) / 1000, limit: this.#perSecond },
      });
    }
    bucket.level--;
  }

  #forgetFull(now: number): void {
    for (const [id, bucket] of this.#buckets) if (now - bucket.at >= 1000) this.#buckets.delete(id);
  }
}
