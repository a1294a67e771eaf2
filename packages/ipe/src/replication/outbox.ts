import { isIpeError } from '@ipe/core';
import type { MessagePlane } from '@ipe/core/plane';
import { type DataFamily, encodeRecord, type LogRecord, type Source } from '@ipe/core/replica';
import type { Kv } from '@ipe/core/store';
import { pause, reconnectDelayMs } from '../planes/deliveries.ts';
import { type EnvelopeOptions, packBatch } from './envelope.ts';
import { readLog } from './log-reader.ts';

export interface OutboxOptions {
  readonly plane: MessagePlane;
  readonly kv: Pick<Kv<DataFamily>, 'entries'>;
  readonly envelope: () => EnvelopeOptions;
  /** What every member has already, by other ways: not worth publishing any more. */
  readonly heldByAll: (namespace: string, source: Source) => number;
  readonly onError: (error: unknown, what: string) => void;
}

/** A batch is sent at once when none is under way, and gathers up to so much behind one that is. */
const batchBytesMax = 256 * 1024;
/** Records kept in memory for publishing; beyond that they are read from the log. */
const queueBytesMax = 16 * 1024 * 1024;

interface Line {
  readonly namespace: string;
  source: Source;
  /** Last record that the plane has taken. */
  published: number;
  /** Last record that is durable. */
  durable: number;
  queue: { readonly seq: number; readonly bytes: Uint8Array }[];
  queueBytes: number;
  isRunning: boolean;
}

/**
 * Publishes this instance's own durable records, a line for each namespace. The log is the outbox: what does not fit in
 * memory, or was refused while the plane was away, is read back from it.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #lines = new Map<string, Line>();
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<void>>();
  published = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Records of this instance, durable now, in order. */
  add(records: readonly LogRecord[]): void {
    for (const record of records) this.#add(record);
    for (const { namespace } of records) this.#run(this.#lines.get(namespace)!);
  }

  /** Stops; what is not published is found by anti-entropy. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#running);
  }

  #add(record: LogRecord): void {
    const { namespace, source, seq } = record;
    let line = this.#lines.get(namespace);
    if (line === undefined || line.source !== source) {
      // A new epoch begins a new line; what the old one did not publish is for anti-entropy.
      line = { namespace, source, published: seq - 1, durable: seq, queue: [], queueBytes: 0, isRunning: false };
      this.#lines.set(namespace, line);
    }
    line.durable = seq;
    const bytes = encodeRecord(record);
    if (line.queueBytes + bytes.length > queueBytesMax) {
      line.queue = [];
      line.queueBytes = 0;
      return;
    }
    if (line.queue.length > 0 ? line.queue.at(-1)!.seq !== seq - 1 : line.published !== seq - 1) return;
    line.queue.push({ seq, bytes });
    line.queueBytes += bytes.length;
  }

  #run(line: Line): void {
    if (line.isRunning) return;
    line.isRunning = true;
    const run = this.#publishAll(line).finally(() => {
      line.isRunning = false;
      this.#running.delete(run);
    });
    this.#running.add(run);
  }

  async #publishAll(line: Line): Promise<void> {
    const { signal } = this.#closing;
    for (let attempt = 0; line.published < line.durable && !signal.aborted; ) {
      try {
        const { records, upTo } = await this.#next(line);
        // The log has been trimmed below what was to be published.
        if (records.length === 0) line.published = line.durable;
        else {
          await this.#publish(line, records, upTo);
          line.published = upTo;
          this.published += records.length;
        }
        attempt = 0;
      } catch (error) {
        if (!isIpeError(error) || error.reason !== 'unavailable') this.#options.onError(error, 'publishing facts');
        await pause(reconnectDelayMs(attempt++), signal);
        line.published = Math.max(line.published, this.#options.heldByAll(line.namespace, line.source));
        this.#dropPublished(line);
      }
    }
  }

  async #next(line: Line): Promise<{ records: readonly Uint8Array[]; upTo: number }> {
    this.#dropPublished(line);
    if (line.queue[0]?.seq === line.published + 1) {
      const records: Uint8Array[] = [];
      let bytes = 0;
      let upTo = line.published;
      for (const { seq, bytes: record } of line.queue) {
        if (records.length > 0 && bytes + record.length > batchBytesMax) break;
        records.push(record);
        bytes += record.length;
        upTo = seq;
      }
      return { records, upTo };
    }
    return await readLog(
      this.#options.kv,
      line.namespace,
      line.source,
      line.published,
      line.durable,
      Math.min(batchBytesMax, this.#options.plane.bodyBytesMax / 2),
    );
  }

  async #publish({ namespace, source }: Line, records: readonly Uint8Array[], upTo: number): Promise<void> {
    const { plane, envelope } = this.#options;
    const id = `${source.id}/${namespace}/${upTo}`;
    const { origin } = source;
    const body = packBatch({ namespace, origin, records }, envelope());
    if (body.length <= plane.bodyBytesMax) return await plane.publish({ namespace, origin, id, body });
    // Too large for the broker: an empty batch announces it, and whoever hears that pulls.
    await plane.publish({ namespace, origin, id, body: packBatch({ namespace, origin, records: [] }, envelope()) });
  }

  #dropPublished(line: Line): void {
    let count = 0;
    while (count < line.queue.length && line.queue[count]!.seq <= line.published) {
      line.queueBytes -= line.queue[count]!.bytes.length;
      count++;
    }
    if (count > 0) line.queue.splice(0, count);
  }
}
