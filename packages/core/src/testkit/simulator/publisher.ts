import { type LogRecord, type LogSlice, type PublishLine, PublishLines, type Source } from '../../replica/index.ts';
import type { Plane, Receiver } from './plane.ts';
import type { LogQuestion } from './state-repair.ts';

/** What publishing needs of the instance. All of it is of one life: a publisher goes with its process. */
export interface PublisherParts {
  readonly from: Receiver;
  readonly plane: Plane;
  readonly slice: (question: Omit<LogQuestion, 'type'>) => LogSlice | undefined;
  /** The record of a source up to which all members hold everything. */
  readonly stableHeadOf: (namespace: string, source: Source) => number;
  readonly isAlive: () => boolean;
  readonly later: (delayMs: number, run: () => void) => void;
}

const backlogRecordsMax = 500;
const batchBytesMax = 2_000;
const retryMs = 200;

/** Hands the own records to the message plane: a line for each source and namespace, one batch under way in each. */
export class Publisher {
  readonly #parts: PublisherParts;
  readonly #lines = new PublishLines(backlogRecordsMax);
  readonly #underWay = new Set<PublishLine>();

  constructor(parts: PublisherParts) {
    this.#parts = parts;
  }

  /** @param records of this instance, on disk */
  add(records: readonly LogRecord[]): void {
    for (const line of this.#lines.add(records)) this.#publish(line);
  }

  #publish(line: PublishLine): void {
    if (!line.isDue || this.#underWay.has(line)) return;
    const { from, plane, slice, stableHeadOf, isAlive, later } = this.#parts;
    const { namespace, source } = line;
    const next = line.next(batchBytesMax);
    const found = 'records' in next ? next : slice({ ...next, source: source.id });
    if (found === undefined) {
      later(retryMs, () => this.#publish(line));
      return;
    }
    const { records, upTo } = found;
    if (records.length === 0) {
      line.trimmed();
      return;
    }
    this.#underWay.add(line);
    const id = `${source.id}/${namespace}/${upTo}`;
    plane.publish(from, { namespace, origin: source.origin, id, records }, (isTaken) => {
      if (!isAlive()) return;
      line.passed(isTaken ? upTo : stableHeadOf(namespace, source));
      later(isTaken ? 0 : retryMs, () => {
        this.#underWay.delete(line);
        this.#publish(line);
      });
    });
  }
}
