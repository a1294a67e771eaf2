import type { Cell } from '../cell.ts';
import { ByteWriter } from '../codec.ts';
import { join } from '../join.ts';
import type { KeyState } from '../state.ts';
import { writeState } from '../state-codec.ts';

/**
 * Keys of which a follower was told what they hold for an earlier place among the commits. What that includes is not told
 * again behind it, so that no key goes back.
 */
export class ToldAhead {
  readonly #told = new Map<string, { readonly state: KeyState; readonly upTo: number }>();

  /** @param upTo the last commit that the cell includes for certain; it may include later ones */
  add(key: string, { state }: Cell, upTo: number): void {
    if (state !== undefined) this.#told.set(key, { state, upTo });
  }

  /** Whether what a commit made of a key was told already. */
  includes(key: string, { state }: Cell, commit: number): boolean {
    const told = this.#told.get(key);
    if (told === undefined) return false;
    // Not by what the states say: deletions that this one names may be purged in what was told.
    if (commit <= told.upTo) return true;
    // What was purged is told as a deletion, whatever kind of state its namespace has.
    if (state === undefined || told.state.kind !== state.kind) return false;
    const together = join(told.state, state);
    return together === told.state || isSame(together, told.state);
  }

  clear(): void {
    this.#told.clear();
  }
}

function isSame(a: KeyState, b: KeyState): boolean {
  const [left, right] = [a, b].map((state) => {
    const out = new ByteWriter();
    writeState(out, state);
    return out.take();
  });
  return left!.length === right!.length && left!.every((byte, i) => byte === right![i]);
}
