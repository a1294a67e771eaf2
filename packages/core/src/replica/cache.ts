import type { Cell } from './cell.ts';

/**
 * Hot cells within a bound of bytes. Two generations instead of a list: what is used moves to the young one, and when
 * that holds half the bound the old one is dropped and they change places. A hit costs one look-up in a map.
 */
export class CellCache {
  readonly #maxBytes: number;
  #young = new Map<string, Cell>();
  #old = new Map<string, Cell>();
  #youngBytes = 0;
  #oldBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get sizeBytes(): number {
    return this.#youngBytes + this.#oldBytes;
  }

  get(key: string): Cell | undefined {
    const cell = this.#young.get(key);
    if (cell !== undefined) return cell;
    const old = this.#old.get(key);
    if (old !== undefined) this.#promote(key, old);
    return old;
  }

  has(key: string): boolean {
    return this.#young.has(key) || this.#old.has(key);
  }

  set(key: string, cell: Cell): void {
    const previous = this.#young.get(key);
    if (previous !== undefined) this.#youngBytes -= weight(key, previous);
    else this.#dropOld(key);
    this.#young.set(key, cell);
    this.#youngBytes += weight(key, cell);
    this.#turn();
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngBytes = this.#oldBytes = 0;
  }

  #promote(key: string, cell: Cell): void {
    this.#dropOld(key);
    this.#young.set(key, cell);
    this.#youngBytes += weight(key, cell);
    this.#turn();
  }

  #dropOld(key: string): void {
    const old = this.#old.get(key);
    if (old === undefined) return;
    this.#old.delete(key);
    this.#oldBytes -= weight(key, old);
  }

  #turn(): void {
    if (this.#youngBytes * 2 <= this.#maxBytes) return;
    this.#old = this.#young;
    this.#oldBytes = this.#youngBytes;
    this.#young = new Map();
    this.#youngBytes = 0;
  }
}

const weight = (key: string, cell: Cell) => cell.sizeBytes + key.length + 64;
