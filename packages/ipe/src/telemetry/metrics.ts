import type { Plane } from '@ipe/client/protocol';
import type { Registry } from 'prom-client';
import type { CallReport } from '../api/dispatch.ts';

/** Upper bounds of the duration buckets, in seconds. */
const bucketsSeconds = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5];

interface MethodCounts {
  readonly plane: Plane;
  readonly method: string;
  ok: number;
  readonly failed: Map<string, number>;
  readonly buckets: number[];
  sumSeconds: number;
}

/** Numbers of a part of the node, read when metrics are scraped. */
export interface MetricSource {
  /** `ipe_<what>_<unit>`; one that ends in `_total` only grows. */
  readonly name: string;
  readonly help: string;
  /** Names of the labels, where there may be no rows at the first scrape to tell, or reading takes a while. */
  readonly labels?: readonly string[];
  read(): MetricRows | Promise<MetricRows>;
}

/** One number, or one for each set of labels. */
export type MetricRows =
  | number
  | Iterable<{ readonly labels: Readonly<Record<string, string>>; readonly value: number }>;

/**
 * The node's metrics. Counting is adding to plain integers; the Prometheus library is loaded by the first scrape and
 * reads them then.
 */
export class Metrics {
  readonly #counts = new Map<string, MethodCounts>();
  readonly #sources: MetricSource[] = [];
  #registry: Promise<Registry> | undefined;

  /** Counts one call; made for `createPlaneServer`'s `onCall`. */
  readonly count = (report: CallReport): void => {
    const key = `${report.plane} ${report.method}`;
    let counts = this.#counts.get(key);
    if (counts === undefined) {
      counts = {
        plane: report.plane,
        method: report.method,
        ok: 0,
        failed: new Map(),
        buckets: new Array(bucketsSeconds.length + 1).fill(0),
        sumSeconds: 0,
      };
      this.#counts.set(key, counts);
    }
    if (report.failure === undefined) counts.ok++;
    else counts.failed.set(report.failure, (counts.failed.get(report.failure) ?? 0) + 1);
    const seconds = report.durationMs / 1000;
    counts.sumSeconds += seconds;
    let bucket = 0;
    while (bucket < bucketsSeconds.length && seconds > bucketsSeconds[bucket]!) bucket++;
    counts.buckets[bucket]!++;
  };

  /** Adds numbers that a part of the node can tell. */
  add(source: MetricSource): void {
    this.#sources.push(source);
  }

  /** The text of `/metrics`. */
  async scrape(): Promise<{ contentType: string; text: string }> {
    this.#registry ??= this.#makeRegistry();
    const registry = await this.#registry;
    return { contentType: registry.contentType, text: `${await registry.metrics()}${this.#durations()}` };
  }

  async #makeRegistry(): Promise<Registry> {
    const prometheus = await import('prom-client');
    const registry = new prometheus.default.Registry();
    prometheus.default.collectDefaultMetrics({ register: registry });
    const counts = this.#counts;
    new prometheus.default.Counter({
      name: 'ipe_requests_total',
      help: 'Calls by plane, method and outcome (`ok` or the reason of the error).',
      labelNames: ['plane', 'method', 'outcome'],
      registers: [registry],
      collect() {
        this.reset();
        for (const { plane, method, ok, failed } of counts.values()) {
          this.inc({ plane, method, outcome: 'ok' }, ok);
          for (const [outcome, count] of failed) this.inc({ plane, method, outcome }, count);
        }
      },
    });
    for (const source of this.#sources) {
      const labelNames = source.labels ?? labelsOf(await source.read());
      const common = { name: source.name, help: source.help, labelNames: [...labelNames], registers: [registry] };
      const each = (read: MetricRows, take: (labels: Readonly<Record<string, string>>, value: number) => void) => {
        if (typeof read === 'number') take({}, read);
        else for (const { labels, value } of read) take(labels, value);
      };
      if (source.name.endsWith('_total'))
        new prometheus.default.Counter({
          ...common,
          async collect() {
            const rows = await source.read();
            this.reset();
            each(rows, (labels, value) => this.inc(labels, value));
          },
        });
      else
        new prometheus.default.Gauge({
          ...common,
          async collect() {
            const rows = await source.read();
            this.reset();
            each(rows, (labels, value) => this.set(labels, value));
          },
        });
    }
    return registry;
  }

  /** The histogram as text: the library has no histogram that is read rather than observed. */
  #durations(): string {
    const name = 'ipe_request_duration_seconds';
    const lines = [
      `# HELP ${name} Time from the check of a call to its result, by plane and method.`,
      `# TYPE ${name} histogram`,
    ];
    for (const { plane, method, buckets, sumSeconds } of this.#counts.values()) {
      const labels = `plane="${plane}",method="${method}"`;
      let total = 0;
      for (const [i, count] of buckets.entries()) {
        total += count;
        lines.push(`${name}_bucket{${labels},le="${bucketsSeconds[i] ?? '+Inf'}"} ${total}`);
      }
      lines.push(`${name}_sum{${labels}} ${sumSeconds}`, `${name}_count{${labels}} ${total}`);
    }
    return `${lines.join('\n')}\n`;
  }
}

function labelsOf(rows: MetricRows): string[] {
  return typeof rows === 'number' ? [] : [...new Set([...rows].flatMap(({ labels }) => Object.keys(labels)))];
}
