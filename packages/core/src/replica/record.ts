import type { Source, Stamp } from './dot.ts';
import type { Context } from './state.ts';

/**
 * What one source wrote in one namespace under one sequence number: the unit of the log, of replication and of
 * atomicity. Every operation shares its hybrid time; the dot of operation `i` is `(source, seq, i)`.
 */
export interface LogRecord {
  readonly namespace: string;
  readonly source: Source;
  /** Contiguous from 1 within (namespace, source). */
  readonly seq: number;
  readonly ms: number;
  readonly count: number;
  readonly operations: readonly Operation[];
}

/** One write as it is logged and replicated: a small state to be joined into the key's. */
export type Operation = PutOperation | DeleteOperation | AddOperation | ResetOperation | MembersOperation;

export interface PutOperation {
  readonly op: 'put';
  readonly key: string;
  readonly version: number;
  readonly createdMs: number;
  /** 0: never. */
  readonly expiresMs: number;
  readonly json: string | undefined;
  readonly bytes: Uint8Array | undefined;
  /** Under `version-vector`: what this write has seen of the key, itself not included. */
  readonly context: Context | undefined;
  /** Under `lww`: `dotWord` of the write it was put over; undefined where there was none. */
  readonly over: number | undefined;
  readonly isConditional: boolean;
}

/** Writes a tombstone. */
export interface DeleteOperation {
  readonly op: 'delete';
  readonly key: string;
  readonly version: number;
  readonly createdMs: number;
  readonly context: Context | undefined;
  readonly over: number | undefined;
  readonly isConditional: boolean;
}

/** Carries the absolute total of its source, so that it may be applied any number of times. */
export interface AddOperation {
  readonly op: 'add';
  readonly key: string;
  readonly version: number;
  readonly createdMs: number;
  readonly reset: Stamp | undefined;
  readonly windowStartMs: number;
  readonly windowMs: number;
  readonly plus: number;
  readonly minus: number;
}

/** Sets a counter back to nothing. */
export interface ResetOperation {
  readonly op: 'reset';
  readonly key: string;
  readonly version: number;
}

export interface MembersOperation {
  readonly op: 'members';
  readonly key: string;
  readonly version: number;
  readonly createdMs: number;
  /** Sorted by member, each once. */
  readonly changes: readonly MemberChange[];
}

export interface MemberChange {
  /** Canonical JSON text. */
  readonly member: string;
  readonly present: boolean;
  /** What the writer had seen of this member. */
  readonly context: Context;
}
