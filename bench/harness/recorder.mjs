// Measures, and keeps the rows that a bench produces. One recorder a bench, in the bench's own process.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class Recorder {
  rows = [];
  #quick;
  #checked = false;
  #deferred = [];

  constructor({ quick }) {
    this.#quick = quick;
  }

  /** A size as asked, or a hundredth of it under `--quick`. */
  size(n) {
    return this.#quick ? Math.max(10, Math.ceil(n / 100)) : n;
  }

  /** A scratch directory, removed at the end. */
  directory() {
    const path = mkdtempSync(join(process.env.IPE_BENCH_DIR ?? tmpdir(), 'ipe-bench-'));
    this.defer(() => rmSync(path, { recursive: true, force: true }));
    return path;
  }

  /** Runs at the end, last deferred first. */
  defer(cleanUp) {
    this.#deferred.push(cleanUp);
  }

  async finish() {
    for (const cleanUp of this.#deferred.reverse()) await cleanUp();
  }

  /** Correctness comes before timing. */
  check(condition, message) {
    if (!condition) throw new Error(`wrong answer: ${message}`);
    this.#checked = true;
  }

  /** Operations a second: `run` does `count` of them. */
  async rate(name, { count, rounds = 5, aim }, run) {
    this.#assertChecked(name);
    await run();
    const rates = [];
    for (let i = 0; i < this.#rounds(rounds); i++) rates.push(count / (await seconds(run)));
    this.rows.push({ kind: 'rate', name, aim, count, ...spread(rates) });
  }

  /** Milliseconds a call, one call at a time. */
  async latency(name, { samples, aim }, run) {
    this.#assertChecked(name);
    const warmUp = Math.min(1000, Math.ceil(samples / 10));
    for (let i = 0; i < warmUp; i++) await run(i);
    const times = new Float64Array(samples);
    for (let i = 0; i < samples; i++) {
      const start = performance.now();
      const result = run(warmUp + i);
      // Awaiting what is not a promise would time the microtask queue.
      if (result instanceof Promise) await result;
      times[i] = performance.now() - start;
    }
    this.percentiles(name, times, { aim });
  }

  /** A row of percentiles over milliseconds measured by the bench itself, as under concurrent load. */
  percentiles(name, times, { aim } = {}) {
    this.#assertChecked(name);
    const sorted = Float64Array.from(times).sort();
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    this.rows.push({
      kind: 'latency',
      name,
      aim,
      samples: sorted.length,
      p50: at(0.5),
      p99: at(0.99),
      p999: at(0.999),
    });
  }

  /** Rates of several contestants in alternating rounds, and the first one's ratio to each other. */
  async compare(name, { count, rounds = 5, aims = {} }, contestants) {
    this.#assertChecked(name);
    const names = Object.keys(contestants);
    const rates = Object.fromEntries(names.map((contestant) => [contestant, []]));
    for (const contestant of names) await contestants[contestant]();
    for (let i = 0; i < this.#rounds(rounds); i++)
      // Every other round goes backwards, so that no one always runs in another's wake.
      for (const contestant of i % 2 === 0 ? names : names.toReversed())
        rates[contestant].push(count / (await seconds(contestants[contestant])));
    for (const contestant of names)
      this.rows.push({ kind: 'rate', name: `${name}: ${contestant}`, count, ...spread(rates[contestant]) });
    const [first, ...others] = names;
    for (const other of others)
      this.rows.push({
        kind: 'ratio',
        name: `${name}: ${first} / ${other}`,
        aim: aims[other],
        median: spread(rates[first]).median / spread(rates[other]).median,
      });
  }

  value(name, value, unit, { aim } = {}) {
    this.#assertChecked(name);
    this.rows.push({ kind: 'value', name, aim, median: value, unit });
  }

  #rounds(rounds) {
    return this.#quick ? 2 : rounds;
  }

  #assertChecked(name) {
    if (!this.#checked) throw new Error(`\`${name}\` is measured before any answer was checked`);
  }
}

/** The median of numbers. */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Megabytes on the heap and beside it, after a full collection. */
export function memoryMegabytes() {
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 1e6;
}

/** Calls `task(i)` for i below `count` with `inFlight` of them under way; milliseconds of each. */
export async function concurrently(count, inFlight, task) {
  const times = new Float64Array(count);
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(inFlight, count) }, async () => {
      while (next < count) {
        const i = next++;
        const start = performance.now();
        await task(i);
        times[i] = performance.now() - start;
      }
    }),
  );
  return times;
}

async function seconds(run) {
  globalThis.gc?.();
  const start = performance.now();
  await run();
  return (performance.now() - start) / 1000;
}

function spread(rates) {
  return { median: median(rates), min: Math.min(...rates), max: Math.max(...rates), rounds: rates.length };
}
