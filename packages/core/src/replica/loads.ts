import type { ReplicaEffect } from './events.ts';

const keysPerLoadMax = 1024;

/**
 * Reads of cold rows. One load is under way at a time and the next gathers behind it, as commits do. A key whose write
 * is admitted while its row is being read is struck out: what arrives for it may be older than the write.
 */
export class Loads {
  #wanted = new Set<string>();
  #underWay = new Set<string>();
  #keys: readonly string[] = [];
  #load = 0;
  #isBusy = false;

  want(key: string): void {
    if (!this.#underWay.has(key)) this.#wanted.add(key);
  }

  /** The row that is being read for this key must not be installed. */
  strike(key: string): void {
    this.#underWay.delete(key);
    this.#wanted.delete(key);
  }

  /** The next load, if one is due. */
  start(): (ReplicaEffect & { type: 'load' }) | undefined {
    if (this.#isBusy || this.#wanted.size === 0) return undefined;
    this.#underWay = this.#wanted;
    this.#wanted = new Set();
    const keys = [...this.#underWay];
    for (const key of keys.splice(keysPerLoadMax)) {
      this.#underWay.delete(key);
      this.#wanted.add(key);
    }
    this.#load++;
    this.#keys = keys;
    this.#isBusy = true;
    return { type: 'load', load: this.#load, keys };
  }

  /** Ends a load. @returns its keys, undefined where the row that came must not be used; none for an unknown load */
  finish(load: number): readonly (string | undefined)[] {
    if (!this.#isBusy || load !== this.#load) return [];
    this.#isBusy = false;
    const usable = this.#keys.map((key) => (this.#underWay.has(key) ? key : undefined));
    this.#underWay.clear();
    this.#keys = [];
    return usable;
  }
}
