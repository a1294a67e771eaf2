import { performance } from 'node:perf_hooks';

/** What one kind of operation reached under load. */
export interface LoadResult {
  readonly operations: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

/**
 * Keeps a number of operations under way for some seconds. Latencies are of every operation, first to last.
 *
 * @param operation is called with a running number
 * @throws what an operation rejects with
 */
export async function runLoad(
  options: { readonly seconds: number; readonly inFlight: number; readonly signal: AbortSignal },
  operation: (index: number) => Promise<unknown>,
): Promise<LoadResult> {
  const latencies: number[] = [];
  const started = performance.now();
  const end = started + options.seconds * 1000;
  let next = 0;
  const worker = async () => {
    while (performance.now() < end && !options.signal.aborted) {
      const before = performance.now();
      await operation(next++);
      latencies.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: options.inFlight }, worker));
  const seconds = (performance.now() - started) / 1000;
  const sorted = Float64Array.from(latencies).sort();
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return {
    operations: sorted.length,
    perSecond: sorted.length / seconds,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    p999Ms: at(0.999),
    maxMs: sorted.at(-1) ?? 0,
  };
}
