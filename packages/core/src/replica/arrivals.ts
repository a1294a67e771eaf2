import type { ReplicaEvent, StateEntry, StatesJoin } from './events.ts';
import { type Offering, removedLater, totalsBefore } from './offer.ts';
import { parkedId, parkedKey } from './parked.ts';
import type { LogRecord } from './record.ts';
import type { WriteRequest } from './write.ts';

/** Something that waits for admission. */
export type Arrival =
  | { readonly kind: 'submit'; readonly id: number; readonly request: WriteRequest }
  | { readonly kind: 'record'; readonly record: LogRecord }
  | (StatesJoin & {
      readonly kind: 'states';
      readonly id: number;
      readonly namespace: string;
      readonly entries: readonly StateEntry[];
    })
  | ({ readonly kind: 'advance' } & Omit<Extract<ReplicaEvent, { readonly type: 'advance' }>, 'type'>)
  | {
      readonly kind: 'hold';
      readonly id: number;
      readonly namespace: string;
      readonly records: readonly LogRecord[];
    }
  | { readonly kind: 'release'; readonly record: LogRecord; readonly isForced: boolean }
  | { readonly kind: 'offer'; readonly record: LogRecord; readonly offering: Offering }
  | { readonly kind: 'offering-end'; readonly id: number; readonly offering: Offering }
  | { readonly kind: 'released'; readonly id: number }
  | { readonly kind: 'reject'; readonly id: number; readonly record: LogRecord }
  | { readonly kind: 'purge'; readonly key: string };

/** What waits for admission, in the order in which it came. */
export class Arrivals {
  readonly #waiting: Arrival[] = [];
  #head = 0;
  #bytes = 0;

  get count(): number {
    return this.#waiting.length - this.#head;
  }

  /** Bytes of the requests among them. */
  get bytes(): number {
    return this.#bytes;
  }

  push(arrival: Arrival): void {
    this.#waiting.push(arrival);
    if (arrival.kind === 'submit') this.#bytes += arrival.request.sizeBytes;
  }

  /** The one that is next; undefined when none waits. */
  get next(): Arrival | undefined {
    return this.#waiting[this.#head];
  }

  /** The next one waits no more. */
  shift(): void {
    const arrival = this.#waiting[this.#head++];
    if (arrival?.kind === 'submit') this.#bytes -= arrival.request.sizeBytes;
    if (this.#head < this.#waiting.length) return;
    this.#waiting.length = 0;
    this.#head = 0;
  }

  /** @returns those that waited, in order */
  clear(): readonly Arrival[] {
    const waiting = this.#waiting.splice(0).slice(this.#head);
    this.#head = this.#bytes = 0;
    return waiting;
  }
}

/** Events that bring something to admit; a request is submitted by itself, since it may be refused for its size. */
export type Takeable = Extract<
  ReplicaEvent,
  { readonly type: 'records' | 'states' | 'advance' | 'hold' | 'release' | 'reject' | 'offer' | 'purge' }
>;

/** What an event brings, in the order in which it is to be admitted. */
export function arrivalsOf(event: Takeable): readonly Arrival[] {
  switch (event.type) {
    case 'records':
      return event.records.map((record) => ({ kind: 'record', record }));
    case 'release': {
      const { id, records, isForced } = event;
      return [...records.map((record) => ({ kind: 'release', record, isForced }) as const), { kind: 'released', id }];
    }
    case 'offer': {
      const { id, records, counted, purgedMs } = event;
      const before = totalsBefore([...counted, ...records]);
      const offering: Offering = { purgedMs, before, removed: removedLater(records), failure: undefined };
      return [
        ...records.map((record) => ({ kind: 'offer', record, offering }) as const),
        { kind: 'offering-end', id, offering },
      ];
    }
    case 'purge':
      return event.keys.map((key) => ({ kind: 'purge', key }));
    default:
      return [{ kind: event.type, ...event } as Arrival];
  }
}

/** What names the keys that an arrival is judged by. */
export function targetsOf(arrival: Exclude<Arrival, { readonly kind: 'purge' }>): readonly { readonly key: string }[] {
  switch (arrival.kind) {
    case 'submit':
      return arrival.request.writes;
    case 'states':
      return arrival.entries;
    case 'record':
    case 'release':
    case 'reject':
      return arrival.record.operations;
    case 'offer': {
      const { record } = arrival;
      return record.operations.flatMap(({ key }, idx) => [{ key }, { key: parkedKey(parkedId(record, idx)) }]);
    }
    default:
      return [];
  }
}
