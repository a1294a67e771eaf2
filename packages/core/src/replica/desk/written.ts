import type { BatchRecord } from '../batch.ts';
import type { Cell } from '../cell.ts';
import type { Operation } from '../record.ts';
import type { WriteDone } from '../write.ts';

/** A write of ours. Tag and token are made when asked for: by then its batch is sealed. */
export class Done implements WriteDone {
  readonly ok = true;
  readonly key: string;
  readonly version: number;
  readonly updatedMs: number;
  readonly cell: Cell;
  readonly isCreated: boolean;
  readonly #origin: string;
  readonly #record: BatchRecord;
  readonly #hasValue: boolean;

  constructor(origin: string, record: BatchRecord, operation: Operation, cell: Cell, isCreated: boolean) {
    this.key = operation.key;
    this.version = operation.version;
    this.updatedMs = record.ms;
    this.cell = cell;
    this.isCreated = isCreated;
    this.#origin = origin;
    this.#record = record;
    this.#hasValue = operation.op === 'add' || operation.op === 'members';
  }

  get etag(): string {
    return this.cell.etag;
  }

  get token(): string {
    return this.#record.token(this.#origin);
  }

  get valueJson(): string | undefined {
    return this.#hasValue ? this.cell.view?.json : undefined;
  }
}
