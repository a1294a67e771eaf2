/**
 * Values of CEL that JavaScript has no type for, and the two kinds of failure.
 *
 * int is bigint, double is number, string, bool, null and bytes (`Uint8Array`) are themselves, lists are arrays, maps are
 * plain objects (as JSON gives them) or `Map`s (as expressions build them).
 */

/** An unsigned 64-bit integer. */
export class Uint {
  readonly value: bigint;
  constructor(value: bigint) {
    this.value = value;
  }
}

/** An instant: whole seconds since 1970-01-01T00:00:00Z, and nanoseconds (0..999,999,999) after them. */
export class Timestamp {
  readonly seconds: number;
  readonly nanos: number;
  constructor(seconds: number, nanos: number) {
    this.seconds = seconds;
    this.nanos = nanos;
  }
  /** From milliseconds since 1970, which may have a fraction (IPE's `now`); precise to the microsecond. */
  static fromMillis(millis: number): Timestamp {
    const micros = Math.round(millis * 1000);
    const seconds = Math.floor(micros / 1_000_000);
    return new Timestamp(seconds, (micros - seconds * 1_000_000) * 1000);
  }
}

/** A span of time in nanoseconds, within what 64 bits of nanoseconds hold. */
export class Duration {
  readonly nanos: bigint;
  constructor(nanos: bigint) {
    this.nanos = nanos;
  }
}

/** A type as a value: what `type(x)` gives. */
export class TypeValue {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** `optional.of(value)` or `optional.none()`. */
export class Optional {
  static readonly none: Optional = new Optional(false, null);
  readonly present: boolean;
  readonly value: unknown;
  private constructor(present: boolean, value: unknown) {
    this.present = present;
    this.value = value;
  }
  static of(value: unknown): Optional {
    return new Optional(true, value);
  }
}

/** What an evaluation gives in place of a value: `CelError` or `Unknowns`. */
export abstract class Failure {
  abstract readonly kind: 'error' | 'unknown';
}

/** Stable names of run-time errors. */
export type CelErrorReason =
  | 'no_such_overload'
  | 'no_such_key'
  | 'no_such_name'
  | 'invalid_argument'
  | 'divide_by_zero'
  | 'overflow'
  | 'out_of_range'
  | 'duplicate_key'
  | 'fact_absent'
  | 'fact_unavailable'
  | 'budget_exceeded';

/** An evaluation that failed, as a value. Messages start in lower case and name what was wrong. */
export class CelError extends Failure {
  readonly kind = 'error';
  readonly reason: CelErrorReason;
  readonly message: string;
  /** The node of its expression that failed; 0 when unknown. */
  readonly nodeId: number;
  constructor(reason: CelErrorReason, message: string, nodeId = 0) {
    super();
    this.reason = reason;
    this.message = message;
    this.nodeId = nodeId;
  }
}

/** A fact that is on disk, not in memory. */
export interface ColdFact {
  readonly namespace: string;
  /** Key without the namespace. */
  readonly key: string;
}

/** The result depends on facts that must be read from disk first; read them all and evaluate again. */
export class Unknowns extends Failure {
  readonly kind = 'unknown';
  readonly facts: readonly ColdFact[];
  constructor(facts: readonly ColdFact[]) {
    super();
    this.facts = facts;
  }
  /** Both, each fact once. */
  merge(other: Unknowns): Unknowns {
    const added = other.facts.filter(
      (fact) => !this.facts.some((held) => held.namespace === fact.namespace && held.key === fact.key),
    );
    return added.length === 0 ? this : new Unknowns([...this.facts, ...added]);
  }
}

/** Tells a failure from a value. */
export function isFailure(value: unknown): value is CelError | Unknowns {
  return value instanceof Failure;
}
