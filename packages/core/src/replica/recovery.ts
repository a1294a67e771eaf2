import type { Ahead } from './ahead.ts';
import type { Source, Sources } from './dot.ts';
import { type Hlc, zeroHlc } from './hlc.ts';
import { type CommitRow, decodeMetadata, type NamespaceRow, type RememberedAnswer } from './metadata.ts';
import type { OffersMade } from './offer.ts';
import type { HeldRecord } from './quarantine.ts';

/** What a store remembered of one namespace. */
export interface RecoveredNamespace {
  readonly row: NamespaceRow | undefined;
  readonly heads: ReadonlyMap<Source, number>;
  /** What its states show beyond that. */
  readonly ahead?: Ahead;
}

/** What a store remembered: where a replica goes on. */
export interface Recovered extends OffersMade {
  readonly hlc: Hlc;
  readonly readFloorMs: number;
  readonly lastCommit: number;
  readonly trimmedCommit: number;
  readonly logBytes: number;
  /** Undefined where nothing was ever committed. */
  readonly logId: number | undefined;
  readonly namespaces: ReadonlyMap<string, RecoveredNamespace>;
  readonly answers: ReadonlyMap<string, RememberedAnswer>;
  /** Records that are held back for their time. */
  readonly held: readonly HeldRecord[];
}

/**
 * Reads every row of `metadata`.
 * @throws IpeError `corrupt`
 */
export function readMetadata(
  rows: Iterable<readonly [key: Uint8Array, value: Uint8Array]>,
  sources: Sources,
): Recovered {
  let hlc = zeroHlc;
  let readFloorMs = 0;
  let commit: CommitRow | undefined;
  const namespaces = new Map<string, { row: NamespaceRow | undefined; heads: Map<Source, number>; ahead?: Ahead }>();
  const held: HeldRecord[] = [];
  const offered = new Map<string, Map<Source, number>>();
  const offeredAs = new Map<string, Map<Source, number>>();
  const answers = new Map<string, RememberedAnswer>();
  const of = (name: string) => {
    let namespace = namespaces.get(name);
    if (namespace === undefined) namespaces.set(name, (namespace = { row: undefined, heads: new Map() }));
    return namespace;
  };
  for (const [key, value] of rows) {
    const entry = decodeMetadata(key, value, sources);
    if (entry.kind === 'commit') commit = entry.row;
    else if (entry.kind === 'clock') ({ hlc, readFloorMs } = entry.row);
    else if (entry.kind === 'namespace') of(entry.namespace).row = entry.row;
    else if (entry.kind === 'ahead') of(entry.namespace).ahead = entry.row;
    else if (entry.kind === 'request') answers.set(entry.requestKey, entry.row);
    else if (entry.kind === 'held') held.push(entry.record);
    else if (entry.kind === 'offered' || entry.kind === 'offered-as') {
      const heads = entry.kind === 'offered' ? offered : offeredAs;
      const seqs = heads.get(entry.namespace) ?? new Map<Source, number>();
      heads.set(entry.namespace, seqs.set(entry.source, entry.seq));
    } else of(entry.namespace).heads.set(entry.source, entry.seq);
  }
  const byTime = new Map([...answers].sort(([, a], [, b]) => a.untilMs - b.untilMs));
  return {
    hlc,
    readFloorMs,
    lastCommit: commit?.last ?? 0,
    trimmedCommit: commit?.trimmed ?? 0,
    logBytes: commit?.logBytes ?? 0,
    logId: commit?.logId,
    namespaces,
    answers: byTime,
    held,
    offered,
    offeredAs,
  };
}
