import { isIpeError } from '@ipe/core';
import type { MessagePlane } from '@ipe/core/plane';
import { type LogRecord, type Publication, type PublishLine, PublishLines, type Source } from '@ipe/core/replica';
import { pause, reconnectDelayMs } from '../planes/deliveries.ts';
import { type EnvelopeOptions, packBatch } from './envelope.ts';
import { type ReadableLog, readLog } from './log-reader.ts';

export interface OutboxOptions {
  readonly plane: MessagePlane;
  /** Where this instance's own records are. */
  readonly ownLog: ReadableLog;
  readonly envelope: () => EnvelopeOptions;
  /** What every member has already, by other ways: not worth publishing any more. */
  readonly heldByAll: (namespace: string, source: Source) => number;
  readonly onError: (error: unknown, what: string) => void;
}

/** A batch is sent at once when none is under way, and gathers up to so much behind one that is. */
const batchBytesMax = 256 * 1024;
/**
 * Time from the start of one batch of a namespace to the start of the next. Under load every receiver checks a
 * signature a batch, which costs more than the records: half as many batches are worth a millisecond of waiting.
 */
const batchSpacingMs = 1;
/** Records kept in memory for publishing; beyond that they are read from the log. */
const queueBytesMax = 16 * 1024 * 1024;

/**
 * Publishes this instance's own durable records, a line for each namespace (`PublishLine` decides what is next). The log
 * is the outbox: what does not fit in memory, or was refused while the plane was away, is read back from it.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #lines = new PublishLines(queueBytesMax);
  readonly #running = new Map<PublishLine, Promise<void>>();
  /** When the last batch of each line was begun. */
  readonly #begunMs = new WeakMap<PublishLine, number>();
  readonly #closing = new AbortController();
  published = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Records of this instance, durable now, in order. */
  add(records: readonly LogRecord[]): void {
    for (const line of this.#lines.add(records)) {
      if (this.#running.has(line)) continue;
      const run = this.#publishAll(line).finally(() => this.#running.delete(line));
      this.#running.set(line, run);
    }
  }

  /** Stops; what is not published is found by anti-entropy. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#running.values());
  }

  async #publishAll(line: PublishLine): Promise<void> {
    const { signal } = this.#closing;
    for (let attempt = 0; line.isDue && !signal.aborted; ) {
      try {
        await this.#space(line);
        const publication = await this.#next(line);
        if (publication.records.length === 0) line.trimmed();
        else {
          await this.#publish(line, publication);
          line.passed(publication.upTo);
          this.published += publication.records.length;
        }
        attempt = 0;
      } catch (error) {
        if (!isIpeError(error) || error.reason !== 'unavailable') this.#options.onError(error, 'publishing facts');
        await pause(reconnectDelayMs(attempt++), signal);
        line.passed(this.#options.heldByAll(line.namespace, line.source));
      }
    }
  }

  /** Waits until another batch of a line may begin: not at all after a pause. */
  async #space(line: PublishLine): Promise<void> {
    const restMs = (this.#begunMs.get(line) ?? Number.NEGATIVE_INFINITY) + batchSpacingMs - performance.now();
    if (restMs > 0) await pause(restMs, this.#closing.signal);
    this.#begunMs.set(line, performance.now());
  }

  async #next(line: PublishLine): Promise<Publication> {
    const { ownLog, plane } = this.#options;
    const next = line.next(batchBytesMax);
    return 'records' in next ? next : await readLog(ownLog, next, Math.min(batchBytesMax, plane.bodyBytesMax / 2));
  }

  async #publish({ namespace, source }: PublishLine, { records, upTo }: Publication): Promise<void> {
    const { plane, envelope } = this.#options;
    const id = `${source.id}/${namespace}/${upTo}`;
    const { origin } = source;
    const body = packBatch({ namespace, origin, records }, envelope());
    if (body.length <= plane.bodyBytesMax) return await plane.publish({ namespace, origin, id, body });
    // Too large for the broker: an empty batch announces it, and whoever hears that pulls.
    await plane.publish({ namespace, origin, id, body: packBatch({ namespace, origin, records: [] }, envelope()) });
  }
}
