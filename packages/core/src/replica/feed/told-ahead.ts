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
  readonly #states = new Map<string, KeyState>();

  add(key: string, { state }: Cell): void {
    if (state !== undefined) this.#states.set(key, state);
  }

  includes(key: string, { state }: Cell): boolean {
    const told = this.#states.get(key);
    // What was purged is told as a deletion, whatever kind of state its namespace has.
    if (told === undefined || state === undefined || told.kind !== state.kind) return false;
    const together = join(told, state);
    return together === told || isSame(together, told);
  }

  clear(): void {
    this.#states.clear();
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
