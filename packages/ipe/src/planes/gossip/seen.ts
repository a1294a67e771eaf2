/**
 * The last ids that passed by, to relay each once. Two generations of a set: at most `2 * generationSize` ids are held,
 * at least the last `generationSize` are remembered.
 */
export class SeenIds {
  readonly #generationSize: number;
  #young = new Set<string>();
  #old = new Set<string>();

  constructor(generationSize: number) {
    this.#generationSize = generationSize;
  }

  /** @returns whether the id is new. */
  add(id: string): boolean {
    if (this.#young.has(id) || this.#old.has(id)) return false;
    this.#young.add(id);
    if (this.#young.size >= this.#generationSize) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    return true;
  }
}
