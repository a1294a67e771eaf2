import { performance } from 'node:perf_hooks';
import type { Client } from '@ipe/client';

/** One number of a node's `/metrics`, and when it was read. */
export interface Sample {
  readonly name: string;
  /** As the text has them, without braces. */
  readonly labels: string;
  readonly value: number;
  /** Milliseconds of a clock that never goes back. */
  readonly atMs: number;
}

/** Reads all samples of the Prometheus text format (version 0.0.4). */
export async function readMetrics(client: Pick<Client, 'control'>): Promise<Sample[]> {
  const text = await client.control.metrics();
  const atMs = performance.now();
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (match !== null) samples.push({ name: match[1]!, labels: match[2] ?? '', value: Number(match[3]), atMs });
  }
  return samples;
}
