/** Leaves of a tree: 256 branches of 256. */
export const leafCount = 0x10000;
export const branchCount = 256;
export const leavesPerBranch = 256;
/** Words of a digest: 128 bits. */
export const digestWords = 4;

const leavesPerChunk = 16;
const chunkWords = leavesPerChunk * digestWords;

/**
 * An XOR Merkle tree of 65,536 leaves: each leaf is the XOR of the items in it, each branch the XOR of its leaves, the
 * root that of all. Trees over disjoint items add up by XOR, an item leaves as it came, and no update reads another item
 * (Riak's TicTac trees). Room is taken in chunks of 16 leaves: 8 KiB empty, 1 MiB full.
 */
export class DigestTree {
  readonly root = new Int32Array(digestWords);
  /** By chunk: its place in the pool, from 1; 0: all its leaves are zero. */
  readonly #places = new Uint16Array(leafCount / leavesPerChunk);
  #pool = new Int32Array(chunkWords);
  #used = 0;

  get sizeBytes(): number {
    return this.#places.byteLength + this.#pool.byteLength;
  }

  /** Puts an item in, or takes it out again. */
  xor(leaf: number, item: Int32Array): void {
    const chunk = leaf >>> 4;
    let place = this.#places[chunk]!;
    if (place === 0) {
      place = ++this.#used;
      if (place * chunkWords > this.#pool.length) {
        const grown = new Int32Array(this.#pool.length * 2);
        grown.set(this.#pool);
        this.#pool = grown;
      }
      this.#places[chunk] = place;
    }
    const at = (place - 1) * chunkWords + (leaf & (leavesPerChunk - 1)) * digestWords;
    const pool = this.#pool;
    const { root } = this;
    for (let word = 0; word < digestWords; word++) {
      pool[at + word]! ^= item[word]!;
      root[word]! ^= item[word]!;
    }
  }

  /** Adds the 256 branches into `out`, 1,024 words. */
  addBranches(out: Int32Array): void {
    for (let chunk = 0; chunk < this.#places.length; chunk++) {
      const place = this.#places[chunk]!;
      if (place === 0) continue;
      const from = (place - 1) * chunkWords;
      const branch = (chunk >>> 4) * digestWords;
      for (let word = 0; word < chunkWords; word++) out[branch + (word & 3)]! ^= this.#pool[from + word]!;
    }
  }

  /** Adds the 256 leaves of a branch into `out`, 1,024 words from `at`. */
  addLeaves(branch: number, out: Int32Array, at: number): void {
    for (let i = 0; i < leavesPerBranch / leavesPerChunk; i++) {
      const place = this.#places[branch * 16 + i]!;
      if (place === 0) continue;
      const from = (place - 1) * chunkWords;
      for (let word = 0; word < chunkWords; word++) out[at + i * chunkWords + word]! ^= this.#pool[from + word]!;
    }
  }
}
