import type { Ahead } from '../ahead.ts';
import { decodeCell } from '../cell.ts';
import { malformed } from '../codec.ts';
import type { Source, Sources } from '../dot.ts';
import type { ExchangeEffect, PullOutcome } from '../exchange/index.ts';
import { headOf, reaches } from '../fold.ts';
import type { LogRecord } from '../record.ts';
import { decodeRecord } from '../record-codec.ts';
import type { Head, KeyState, Strategy } from '../state.ts';
import type { LogSlice, SnapshotPage } from './slice.ts';

/** What the outside tells of fetches under way. Those of a fetch that has ended do nothing. */
export type FetchEvent =
  /** The exchange asks for records or states. */
  | Extract<ExchangeEffect, { readonly type: 'pull' | 'bootstrap' }>
  /** The answer to `ask-log`. */
  | { readonly type: 'slice'; readonly pull: number; readonly slice: LogSlice }
  /** The answer to `ask-snapshot`. */
  | { readonly type: 'page'; readonly pull: number; readonly page: SnapshotPage }
  /** What `join` or `advance` asked for is durable. */
  | { readonly type: 'stored'; readonly pull: number }
  /** A question, a join or an advance failed. */
  | { readonly type: 'failed'; readonly pull: number }
  /** Durable heads of a namespace moved. */
  | { readonly type: 'moved'; readonly namespace: string }
  /** A record of this source cannot be applied here. */
  | { readonly type: 'refused'; readonly namespace: string; readonly source: Source }
  /** Time has passed: about each 250 ms. */
  | { readonly type: 'tick' };

/** What fetches ask of the outside. */
export type FetchEffect =
  /** Ask a peer for records `after < seq <= upTo`; answer with `slice` or `failed`. */
  | {
      readonly type: 'ask-log';
      readonly pull: number;
      readonly peer: string;
      readonly namespace: string;
      readonly source: Source;
      readonly after: number;
      readonly upTo: number;
    }
  /** Ask a peer for held-back records behind `heldAfter`, then for states of keys behind `after`; answer with `page` or `failed`. */
  | {
      readonly type: 'ask-snapshot';
      readonly pull: number;
      readonly peer: string;
      readonly namespace: string;
      readonly after: string | undefined;
      readonly heldAfter: string | undefined;
    }
  /** Hand records to the replica. That they are durable is told by `moved`. */
  | { readonly type: 'take'; readonly peer: string; readonly records: readonly LogRecord[] }
  /** Hold back the records, then join the states in; answer with `stored` or `failed`. */
  | {
      readonly type: 'join';
      readonly pull: number;
      readonly namespace: string;
      readonly entries: readonly { readonly key: string; readonly state: KeyState }[];
      readonly held: readonly LogRecord[];
      /** Set while the namespace is not whole here: what the giver does not show of it goes. */
      readonly stretch: Stretch | undefined;
    }
  /** Move the vector; answer with `stored` or `failed`. */
  | {
      readonly type: 'advance';
      readonly pull: number;
      readonly namespace: string;
      readonly heads: readonly Head[];
      readonly floor: number;
      readonly ahead: Ahead | undefined;
    }
  /** For the exchange. `error`: what a peer sent could not be read. */
  | { readonly type: 'pulled'; readonly pull: number; readonly outcome: PullOutcome; readonly error?: unknown };

/**
 * Keys behind `after` up to `upTo` (undefined: from the first, to the last) that are all told of: of those that are not
 * among the entries the giver holds nothing. It had applied everything that `heads` cover, held-back records left out.
 */
export interface Stretch {
  readonly after: string | undefined;
  readonly upTo: string | undefined;
  readonly heads: readonly Head[];
}

export interface FetchesOptions {
  readonly sources: Sources;
  readonly strategyOf: (namespace: string) => Strategy;
  /** Whether a record is durable here. */
  readonly holds: (namespace: string, source: Source, seq: number) => boolean;
  /**
   * Whether a namespace is held whole here. Members wait for those that hold it whole before they forget a deletion; of
   * others they may have forgotten what those need to hear.
   */
  readonly isWhole: (namespace: string) => boolean;
  /** Time that each step of a fetch may take. */
  readonly stepTimeoutMs: number;
}

type Fetch = PullFetch | BootstrapFetch;

interface PullFetch {
  readonly type: 'pull';
  readonly pull: number;
  readonly peer: string;
  readonly namespace: string;
  readonly source: Source;
  readonly upTo: number;
  /** `asking`: for the slice after `after`; `holding`: until everything up to `after` is durable. */
  stage: 'asking' | 'holding';
  after: number;
  dueMs: number;
}

interface BootstrapFetch {
  readonly type: 'bootstrap';
  readonly pull: number;
  readonly peer: string;
  readonly namespace: string;
  stage: 'asking' | 'joining' | 'advancing';
  place: Place;
  dueMs: number;
}

/** How far a bootstrap has come. */
interface Place {
  /** Of the first page: later pages were read later, so they hold at least as much, or the giver has gone back. */
  readonly heads: readonly Head[] | undefined;
  /** By source, the record up to which the states show all, where the namespace was not whole at the first page. */
  readonly shown: ReadonlyMap<Source, number> | undefined;
  readonly floor: number;
  /** What the giver had said to show beyond its vector, before the first page. */
  readonly ahead: Ahead | undefined;
  /** Last key whose state is durable here, or is being joined. */
  readonly after: string | undefined;
  /** Where more held-back records follow. */
  readonly heldAfter: string | undefined;
  readonly isLast: boolean;
}

const beginning: Place = {
  heads: undefined,
  shown: undefined,
  floor: 0,
  ahead: undefined,
  after: undefined,
  heldAfter: undefined,
  isLast: false,
};

/**
 * Carries out what the exchange decided to fetch, as a deterministic state machine: records slice by slice, each durable
 * before the next is asked for; states page by page, joined and never replacing, the vector moved only behind the last.
 * A bootstrap that was interrupted goes on behind the last page that is durable; one whose giver has gone back behind
 * its first page begins anew.
 *
 * Where a namespace is not whole yet, records may have come in, from a log or a plane, of which the giver's states show
 * nothing, because what overwrote them is forgotten: each page takes such writes away. One that came in behind a page
 * would escape, so until the vector has moved records that the states stand for are not taken (`unawaited`), and a pull
 * of any makes an interrupted bootstrap begin anew.
 */
export class Fetches {
  readonly #options: FetchesOptions;
  readonly #underWay = new Map<number, Fetch>();
  /** Where an interrupted bootstrap goes on, by `namespace/peer`. */
  readonly #places = new Map<string, Place>();
  #effects: FetchEffect[] = [];
  /** Records and states fetched in all. */
  pulledRecords = 0;
  joinedStates = 0;

  constructor(options: FetchesOptions) {
    this.#options = options;
  }

  step(event: FetchEvent, nowMs: number): readonly FetchEffect[] {
    switch (event.type) {
      case 'pull': {
        const { pull, peer, namespace, source, after, upTo } = event;
        for (const [name, { shown }] of this.#places)
          if (shown !== undefined && name.startsWith(`${namespace}/`)) this.#places.delete(name);
        this.#begin({ type: 'pull', pull, peer, namespace, source, upTo, stage: 'asking', after, dueMs: 0 }, nowMs);
        break;
      }
      case 'bootstrap': {
        const { pull, peer, namespace, ahead } = event;
        const place = this.#places.get(`${namespace}/${peer}`) ?? { ...beginning, ahead };
        this.#begin({ type: 'bootstrap', pull, peer, namespace, stage: 'asking', place, dueMs: 0 }, nowMs);
        break;
      }
      case 'slice': {
        const fetch = this.#underWay.get(event.pull);
        if (fetch?.type === 'pull' && fetch.stage === 'asking') this.#slice(fetch, event.slice, nowMs);
        break;
      }
      case 'page': {
        const fetch = this.#underWay.get(event.pull);
        if (fetch?.type === 'bootstrap' && fetch.stage === 'asking') this.#page(fetch, event.page, nowMs);
        break;
      }
      case 'stored': {
        const fetch = this.#underWay.get(event.pull);
        if (fetch?.type === 'bootstrap' && fetch.stage !== 'asking') this.#stored(fetch, nowMs);
        break;
      }
      case 'failed':
        this.#end(event.pull, 'failed');
        break;
      case 'moved':
        for (const fetch of [...this.#underWay.values()])
          if (fetch.type === 'pull' && fetch.stage === 'holding' && fetch.namespace === event.namespace)
            this.#goOn(fetch, nowMs);
        break;
      case 'refused':
        for (const fetch of [...this.#underWay.values()])
          if (fetch.type === 'pull' && fetch.namespace === event.namespace && fetch.source === event.source)
            this.#end(fetch.pull, 'failed');
        break;
      case 'tick':
        for (const { pull, dueMs } of [...this.#underWay.values()]) if (dueMs <= nowMs) this.#end(pull, 'failed');
        break;
    }
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** Those records that no bootstrap under way, or interrupted, brings as states. The others may not be applied now. */
  unawaited(records: readonly LogRecord[]): readonly LogRecord[] {
    const loading = [...this.#loading()];
    if (loading.length === 0) return records;
    return records.filter(
      ({ namespace, source, seq }) =>
        !loading.some((each) => each.namespace === namespace && headOf(each.shown, source) >= seq),
    );
  }

  /** What bootstraps of namespaces that are not whole stand for, once their first page is here. */
  *#loading(): Iterable<{ readonly namespace: string; readonly shown: ReadonlyMap<Source, number> }> {
    for (const fetch of this.#underWay.values())
      if (fetch.type === 'bootstrap' && fetch.place.shown !== undefined)
        yield { namespace: fetch.namespace, shown: fetch.place.shown };
    for (const [name, { shown }] of this.#places)
      if (shown !== undefined) yield { namespace: name.slice(0, name.indexOf('/')), shown };
  }

  #begin(fetch: Fetch, nowMs: number): void {
    this.#underWay.set(fetch.pull, fetch);
    this.#ask(fetch, nowMs);
  }

  #ask(fetch: Fetch, nowMs: number): void {
    const { pull, peer, namespace } = fetch;
    fetch.stage = 'asking';
    this.#extend(fetch, nowMs);
    if (fetch.type === 'bootstrap') {
      const { after, heldAfter } = fetch.place;
      this.#effects.push({ type: 'ask-snapshot', pull, peer, namespace, after, heldAfter });
    } else {
      const { source, after, upTo } = fetch;
      this.#effects.push({ type: 'ask-log', pull, peer, namespace, source, after, upTo });
    }
  }

  #slice(fetch: PullFetch, { records, upTo, isTrimmed }: LogSlice, nowMs: number): void {
    // Nothing, and nothing trimmed: the peer has gone back behind its report. Had this pull succeeded, it would be put
    // again in the same tick, and again, and take the place of those that bring something.
    if (isTrimmed || records.length === 0) {
      this.#end(fetch.pull, isTrimmed ? 'trimmed' : 'failed');
      return;
    }
    const { sources, holds } = this.#options;
    fetch.after = upTo;
    fetch.stage = 'holding';
    this.#extend(fetch, nowMs);
    if (!holds(fetch.namespace, fetch.source, upTo)) {
      const decoded = this.#reading(fetch.pull, () => records.map((record) => decodeRecord(record, sources)));
      if (decoded === undefined) return;
      this.#effects.push({ type: 'take', peer: fetch.peer, records: decoded });
      this.pulledRecords += records.length;
    }
    this.#goOn(fetch, nowMs);
  }

  /** The next slice, once this one is durable: a crash must not leave a hole behind what others are told. */
  #goOn(fetch: PullFetch, nowMs: number): void {
    const { pull, namespace, source, after, upTo } = fetch;
    if (!this.#options.holds(namespace, source, after)) return;
    if (after >= upTo) this.#end(pull, 'done');
    else this.#ask(fetch, nowMs);
  }

  #page(fetch: BootstrapFetch, page: SnapshotPage, nowMs: number): void {
    const { heads, floor, rows, isLast } = page;
    const { sources, strategyOf, isWhole } = this.#options;
    const { pull, peer, namespace, place } = fetch;
    const now = new Map(heads.map(({ source, seq }) => [source, seq]));
    if (!(place.heads ?? []).every(({ source, seq }) => reaches(now, source, seq))) {
      // The giver has gone back since the first page: of what that promised, this one may show nothing.
      this.#places.delete(`${namespace}/${peer}`);
      this.#end(pull, 'failed');
      return;
    }
    const held = this.#reading(pull, () => page.held.map((record) => decodeRecord(record, sources)));
    if (held === undefined) return;
    const isFirst = place.heads === undefined;
    const before = isFirst && !isWhole(namespace) ? now : place.shown;
    fetch.place = {
      ...place,
      heads: place.heads ?? heads,
      shown: before && withoutHeld(before, held),
      floor: Math.max(place.floor, floor),
      after: rows.at(-1)?.key ?? place.after,
      heldAfter: page.heldUpTo,
      isLast,
    };
    fetch.stage = 'joining';
    this.#extend(fetch, nowMs);
    const stretch = stretchOf(page, place.after, fetch.place.shown);
    if (rows.length === 0 && held.length === 0 && stretch === undefined) {
      // An empty page that is not the last would be asked for for ever.
      if (isLast) this.#stored(fetch, nowMs);
      else this.#end(pull, 'failed');
      return;
    }
    const strategy = strategyOf(namespace);
    const entries = this.#reading(pull, () =>
      rows.map(({ key, row }) => {
        const { state } = decodeCell(row, sources, strategy);
        if (state === undefined) throw malformed(`no state of \`${key}\``);
        return { key, state };
      }),
    );
    if (entries === undefined) return;
    this.joinedStates += entries.length;
    this.#effects.push({ type: 'join', pull, namespace, entries, held, stretch });
  }

  #stored(fetch: BootstrapFetch, nowMs: number): void {
    const { pull, peer, namespace, place, stage } = fetch;
    if (stage === 'advancing') {
      this.#places.delete(`${namespace}/${peer}`);
      this.#end(pull, 'done');
    } else if (place.isLast) {
      fetch.stage = 'advancing';
      this.#extend(fetch, nowMs);
      const { heads = [], floor, ahead } = place;
      this.#effects.push({ type: 'advance', pull, namespace, heads, floor, ahead });
    } else {
      this.#places.set(`${namespace}/${peer}`, place);
      this.#ask(fetch, nowMs);
    }
  }

  #extend(fetch: Fetch, nowMs: number): void {
    fetch.dueMs = nowMs + this.#options.stepTimeoutMs;
  }

  #end(pull: number, outcome: PullOutcome): void {
    if (this.#underWay.delete(pull)) this.#effects.push({ type: 'pulled', pull, outcome });
  }

  #reading<Result>(pull: number, read: () => Result): Result | undefined {
    try {
      return read();
    } catch (error) {
      this.#underWay.delete(pull);
      this.#effects.push({ type: 'pulled', pull, outcome: 'failed', error });
      return undefined;
    }
  }
}

/** Vector of what is applied, where records are held back that the heads count too. */
function withoutHeld(heads: ReadonlyMap<Source, number>, held: readonly LogRecord[]): ReadonlyMap<Source, number> {
  const shown = new Map(heads);
  for (const { source, seq } of held) shown.set(source, Math.min(shown.get(source) ?? 0, seq - 1));
  return shown;
}

/** Which keys a page tells all of; none where it brings held-back records only, or nothing that it lacks may go. */
function stretchOf(
  { rows, isLast }: SnapshotPage,
  after: string | undefined,
  shown: ReadonlyMap<Source, number> | undefined,
): Stretch | undefined {
  if (shown === undefined || (rows.length === 0 && !isLast)) return undefined;
  const heads = [...shown].map(([source, seq]) => ({ source, seq }));
  return { after, upTo: isLast ? undefined : rows.at(-1)!.key, heads };
}
