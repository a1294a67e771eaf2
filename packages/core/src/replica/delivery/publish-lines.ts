import type { Source } from '../dot.ts';
import type { LogRecord } from '../record.ts';
import { encodeRecord } from '../record-codec.ts';
import type { LogRange } from './slice.ts';

/** Records to be published in one batch, and how far they reach. */
export interface Publication {
  readonly records: readonly Uint8Array[];
  readonly upTo: number;
}

/**
 * What of one source's records in one namespace the message plane has not taken yet. The newest are kept in memory; what
 * does not fit, or was refused while the plane was away, is read back from the log.
 */
export class PublishLine {
  readonly namespace: string;
  readonly source: Source;
  readonly #queueBytesMax: number;
  /** Last record that the plane has taken. */
  #published: number;
  /** Last record that is durable. */
  #durable: number;
  #queue: { readonly seq: number; readonly bytes: Uint8Array }[] = [];
  #queueBytes = 0;

  constructor(first: LogRecord, queueBytesMax: number) {
    this.namespace = first.namespace;
    this.source = first.source;
    this.#queueBytesMax = queueBytesMax;
    this.#published = this.#durable = first.seq - 1;
    this.add(first);
  }

  get isDue(): boolean {
    return this.#published < this.#durable;
  }

  /** The next record, durable now. */
  add(record: LogRecord): void {
    const { seq } = record;
    this.#durable = seq;
    const bytes = encodeRecord(record);
    if (this.#queueBytes + bytes.length > this.#queueBytesMax) {
      this.#queue = [];
      this.#queueBytes = 0;
      return;
    }
    // Behind records that are only in the log, this one is read from there as well.
    if ((this.#queue.at(-1)?.seq ?? this.#published) !== seq - 1) return;
    this.#queue.push({ seq, bytes });
    this.#queueBytes += bytes.length;
  }

  /** What to publish next, from memory, up to about so many bytes; else where it stands in the log. */
  next(bytesMax: number): Publication | LogRange {
    if (this.#queue[0]?.seq !== this.#published + 1) {
      return { namespace: this.namespace, source: this.source, after: this.#published, upTo: this.#durable };
    }
    const records: Uint8Array[] = [];
    let size = 0;
    let upTo = this.#published;
    for (const { seq, bytes } of this.#queue) {
      if (records.length > 0 && size + bytes.length > bytesMax) break;
      records.push(bytes);
      size += bytes.length;
      upTo = seq;
    }
    return { records, upTo };
  }

  /** The plane has taken records up to this one, or all members hold them by other ways. */
  passed(upTo: number): void {
    this.#published = Math.max(this.#published, upTo);
    let count = 0;
    while (count < this.#queue.length && this.#queue[count]!.seq <= this.#published) {
      this.#queueBytes -= this.#queue[count]!.bytes.length;
      count++;
    }
    if (count > 0) this.#queue.splice(0, count);
  }

  /** The log no longer holds what was to be read from it: what is left of it is found by anti-entropy. */
  trimmed(): void {
    this.passed(this.#queue[0] === undefined ? this.#durable : this.#queue[0].seq - 1);
  }
}

/** The lines of one instance, one for each namespace that it writes to. */
export class PublishLines {
  readonly #queueBytesMax: number;
  readonly #lines = new Map<string, PublishLine>();

  /** @param queueBytesMax bytes of records that a line keeps in memory */
  constructor(queueBytesMax: number) {
    this.#queueBytesMax = queueBytesMax;
  }

  /** Records of this instance, durable now, in order. @returns the lines that have something to publish */
  add(records: readonly LogRecord[]): ReadonlySet<PublishLine> {
    const due = new Set<PublishLine>();
    for (const record of records) {
      let line = this.#lines.get(record.namespace);
      if (line?.source === record.source) line.add(record);
      else {
        // A new epoch begins a new line; what the old one did not publish is for anti-entropy.
        line = new PublishLine(record, this.#queueBytesMax);
        this.#lines.set(record.namespace, line);
      }
      due.add(line);
    }
    return due;
  }
}
