import type { Source, Sources } from '../dot.ts';
import { type Accepted, acceptedUpTo, type Heads } from '../exchange/index.ts';
import { isFolded } from '../fold.ts';
import { logKey } from '../layout.ts';
import type { LogRecord } from '../record.ts';
import { decodeRecord } from '../record-codec.ts';

/** What an evicted member takes along from its store. */
export interface Aside {
  /** By namespace and source: what counts of what it wrote before. */
  readonly closed: Accepted;
  /** What it alone had written, encoded, in order of namespace, source and number. */
  readonly records: readonly Uint8Array[];
  /** Records before them, which count: the last of each source that added to a counter that `records` add to. */
  readonly counted: readonly Uint8Array[];
  /** Records that belong to them and that the log has let go of. */
  readonly missing: readonly { readonly namespace: string; readonly source: Source; readonly records: number }[];
  /** Counters of which the log no longer tells how much counts already. */
  readonly unknown: readonly {
    readonly namespace: string;
    readonly source: Source;
    readonly counters: readonly string[];
  }[];
}

/** The store of an evicted member. */
export interface EvictedStore {
  readonly origin: string;
  readonly sources: Sources;
  readonly namespaces: readonly { readonly name: string; readonly heads: Heads }[];
  /** What all others keep of its records. */
  readonly accepted: Accepted;
}

type Row = Uint8Array | undefined;

/**
 * Reads from the store of an evicted member what it wrote beyond what the others accept, without I/O: yields keys of the
 * family `log` and is given their rows.
 */
export function* setAside({ origin, sources, namespaces, accepted }: EvictedStore): Generator<Uint8Array, Aside, Row> {
  const closed: Record<string, Record<string, number>> = {};
  const records: Uint8Array[] = [];
  const counted: Uint8Array[] = [];
  const missing: Aside['missing'][number][] = [];
  const unknown: Aside['unknown'][number][] = [];
  for (const { name, heads } of namespaces) {
    for (const [source, head] of [...heads].sort(([a], [b]) => a.epoch - b.epoch)) {
      if (source.origin !== origin || isFolded(head)) continue;
      const last = acceptedUpTo({ accepted, isClosed: true }, name, source);
      (closed[name] ??= {})[source.id] = last;
      const found: LogRecord[] = [];
      for (let seq = last + 1; seq <= head; seq++) {
        const row = yield logKey(name, source, seq);
        if (row === undefined) continue;
        records.push(row);
        found.push(decodeRecord(row, sources));
      }
      const lost = Math.max(0, head - last) - found.length;
      if (lost > 0) missing.push({ namespace: name, source, records: lost });
      const wanted = new Set(found.flatMap(addedTo));
      const totals = yield* totalsUpTo(last, name, source, sources, wanted);
      counted.push(...totals.counted);
      if (!totals.isComplete) unknown.push({ namespace: name, source, counters: [...wanted] });
    }
  }
  return { closed, records, counted, missing, unknown };
}

/** The records up to `last` that tell what a source had counted before the next. @param wanted loses what was found */
function* totalsUpTo(
  last: number,
  namespace: string,
  source: Source,
  sources: Sources,
  wanted: Set<string>,
): Generator<Uint8Array, { readonly counted: readonly Uint8Array[]; readonly isComplete: boolean }, Row> {
  const counted: Uint8Array[] = [];
  let seq = last;
  for (; wanted.size > 0 && seq > 0; seq--) {
    const row = yield logKey(namespace, source, seq);
    if (row === undefined) break;
    const found = addedTo(decodeRecord(row, sources)).filter((key) => wanted.delete(key));
    if (found.length > 0) counted.push(row);
  }
  return { counted: counted.reverse(), isComplete: wanted.size === 0 || seq <= 0 };
}

/** Counters that a record adds to. */
const addedTo = ({ operations }: LogRecord) => operations.flatMap(({ op, key }) => (op === 'add' ? [key] : []));
