/**
 * Cuts a long loop into slices between which other work runs: a function to call once a step. It gives undefined within
 * a slice, and at the end of one of `steps` a promise to wait for.
 *
 * @example
 * const rest = slices(breathe, 64);
 * for (const each of many) { await rest(); work(each); }
 */
export function slices(breathe: () => Promise<unknown>, steps: number): () => Promise<unknown> | undefined {
  let taken = 0;
  return () => {
    if (++taken <= steps) return undefined;
    taken = 1;
    return breathe();
  };
}
