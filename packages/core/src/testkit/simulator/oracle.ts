import {
  type Aside,
  decodeRecord,
  encodeRecord,
  headById,
  isCausal,
  isFolded,
  join,
  type KeyState,
  type LogRecord,
  type Source,
  Sources,
  stateOf,
} from '../../replica/index.ts';
import { strategies } from './plan.ts';

interface Remembered {
  readonly fingerprint: string;
  /** Whether its instance has said that it is on disk. */
  isDurable: boolean;
  /** Lost with every disk that held it, by a fault that may: only where it turns up again does it count. */
  isExcused: boolean;
  /** Its member was evicted before anybody else had it. */
  isWithdrawn: boolean;
  readonly record: LogRecord;
}

/** What a record wrote to a key. */
export interface Share {
  readonly sourceId: string;
  readonly seq: number;
  readonly state: KeyState;
}

/** How far something reaches: by namespace and source, the last record that it holds; infinite for all there are. */
export type Reach = (namespace: string, sourceId: string) => number;

/**
 * All that was ever written, as one who sees every disk at once: what each key must hold is the join of what is
 * covered, whatever the way it came.
 */
export class Oracle {
  readonly #sources = new Sources();
  /** By namespace and source: records from seq 1 on. */
  readonly #records = new Map<
    string,
    { readonly namespace: string; readonly sourceId: string; readonly list: Remembered[] }
  >();
  readonly #byKey = new Map<string, Share[]>();
  /** By namespace and source: the last record of a source that is folded, where known. */
  readonly #ends = new Map<string, number>();
  readonly #problem: (problem: string) => void;

  constructor(problem: (problem: string) => void) {
    this.#problem = problem;
  }

  /** A record that its own instance shows to readers. */
  wrote(record: LogRecord): void {
    const { namespace, source, seq } = record;
    const name = `${namespace}/${source.id}`;
    let known = this.#records.get(name);
    if (known === undefined) this.#records.set(name, (known = { namespace, sourceId: source.id, list: [] }));
    // Found again at a start, perhaps behind others that have been trimmed since.
    if (seq <= known.list.length) {
      this.applied(record);
      return;
    }
    if (seq !== known.list.length + 1) {
      this.#problem('an instance wrote a record behind one that it never wrote');
      return;
    }
    // Sources are compared by identity, so the oracle needs its own.
    const own = decodeRecord(encodeRecord(record), this.#sources);
    const fingerprint = fingerprintOf(record);
    known.list[seq - 1] = { fingerprint, isDurable: false, isExcused: false, isWithdrawn: false, record: own };
    own.operations.forEach((operation, idx) => {
      const causal = strategies[namespace]!.kind === 'version-vector' || isCausal(operation);
      const share = { sourceId: source.id, seq, state: stateOf(own, idx, causal) };
      const shares = this.#byKey.get(operation.key);
      if (shares === undefined) this.#byKey.set(operation.key, [share]);
      else shares.push(share);
    });
  }

  /** A record that some instance applied: the same one as everywhere. */
  applied(record: LogRecord): void {
    const known = this.#of(record.namespace, record.source.id, record.seq);
    if (known === undefined) this.#problem('an instance applied a record that nobody wrote');
    else if (known.fingerprint !== fingerprintOf(record)) this.#problem('two writes have the same dot');
  }

  durable({ namespace, source, seq }: LogRecord): void {
    const known = this.#of(namespace, source.id, seq);
    if (known !== undefined) known.isDurable = true;
  }

  /**
   * A writer folded sources of its own: from now on nobody can tell how far each of them goes, and what it had lost of
   * them does not count. @param upTo the latest of them @param heads its vector
   */
  folded(namespace: string, upTo: Source, heads: ReadonlyMap<Source, number>): void {
    for (const known of this.#records.values()) {
      const { sourceId } = known;
      const name = `${namespace}/${sourceId}`;
      const isOfThem = known.namespace === namespace && sourceId.startsWith(`${upTo.origin}:`) && sourceId <= upTo.id;
      const last = headById(heads, sourceId);
      if (isOfThem && !isFolded(last)) this.#ends.set(name, last);
    }
  }

  /** Whether a record is within reach. */
  isWithin(reach: Reach, namespace: string, sourceId: string, seq: number): boolean {
    return seq <= this.#upTo(reach, namespace, sourceId);
  }

  /** Whether a disk holds of what was written what no other holds. @param reach of the others together */
  isBeyond(reach: Reach, reachOfDisk: Reach): boolean {
    let isBeyond = false;
    this.#forMissing(reach, ({ record: { namespace, source, seq } }) => {
      isBeyond ||= this.isWithin(reachOfDisk, namespace, source.id, seq);
    });
    return isBeyond;
  }

  /** A disk lost what it had promised to keep: what no other holds may be gone. @param reach of all disks together */
  lost(reach: Reach): void {
    this.#forMissing(reach, (known) => {
      known.isExcused = true;
    });
  }

  /**
   * A member was evicted: of its records those beyond these may be nowhere, but then something must have become of them.
   * @param missing what its log has let go of, which it reports
   */
  withdrawn(closed: Aside['closed'], missing: Aside['missing']): void {
    for (const [namespace, seqs] of Object.entries(closed)) {
      for (const [id, last] of Object.entries(seqs)) {
        const isMissing = missing.some((each) => each.namespace === namespace && each.source.id === id);
        for (const known of this.#records.get(`${namespace}/${id}`)?.list.slice(last) ?? []) {
          known.isWithdrawn = true;
          if (isMissing) known.isExcused = true;
        }
      }
    }
  }

  /** Records of evicted members that reach nobody under their own name, with what each wrote. */
  withdrawnBeyond(reach: Reach): LogRecord[] {
    const found: LogRecord[] = [];
    this.#forMissing(reach, ({ isDurable, isExcused, isWithdrawn, record }) => {
      if (isDurable && !isExcused && isWithdrawn) found.push(record);
    });
    return found;
  }

  /** Records that an evicted member had let go of before anybody else had them, which it reports. */
  letGoBeyond(reach: Reach): LogRecord[] {
    const found: LogRecord[] = [];
    this.#forMissing(reach, ({ isExcused, isWithdrawn, record }) => {
      if (isExcused && isWithdrawn) found.push(record);
    });
    return found;
  }

  /** How many records had to be there and are not. */
  missing(reach: Reach): number {
    let count = 0;
    this.#forMissing(reach, ({ isDurable, isExcused, isWithdrawn }) => {
      if (isDurable && !isExcused && !isWithdrawn) count++;
    });
    return count;
  }

  isExcused(namespace: string, sourceId: string, seq: number): boolean {
    const known = this.#of(namespace, sourceId, seq);
    return known === undefined || known.isExcused || !known.isDurable;
  }

  isWithdrawn(namespace: string, sourceId: string, seq: number): boolean {
    return this.#of(namespace, sourceId, seq)?.isWithdrawn === true;
  }

  keys(): Iterable<string> {
    return this.#byKey.keys();
  }

  keysOf(namespace: string): string[] {
    return [...this.#byKey.keys()].filter((key) => key.startsWith(`${namespace}.`));
  }

  /**
   * What a key must hold where everything within reach is applied.
   * @param known what is known of a write, if anything; default: all of it
   */
  expected(
    key: string,
    reach: Reach,
    known: (share: Share) => KeyState | undefined = ({ state }) => state,
  ): KeyState | undefined {
    const namespace = key.slice(0, key.indexOf('.'));
    let state: KeyState | undefined;
    for (const share of this.writesTo(key)) {
      const part = this.isWithin(reach, namespace, share.sourceId, share.seq) ? known(share) : undefined;
      if (part !== undefined) state = join(state, part);
    }
    return state;
  }

  /** All that was ever written to a key. */
  writesTo(key: string): readonly Share[] {
    return this.#byKey.get(key) ?? [];
  }

  /**
   * How far a key may be shown where states show more of some sources than is within reach, nobody can tell how much.
   * Where that can be too many ways, those only in which each member's sources follow one another, as it wrote them.
   * @param strays by source id, the last record that the states name
   * @returns what is within reach alone first
   */
  reaches(key: string, reach: Reach, strays: ReadonlyMap<string, number>): readonly Reach[] {
    const namespace = key.slice(0, key.indexOf('.'));
    const named = [...strays].flatMap(([id, last]) => {
      const within = reach(namespace, id);
      const writes = this.writesTo(key).filter(({ sourceId, seq }) => sourceId === id && seq > within && seq <= last);
      return writes.length > 0 ? [{ id, seqs: writes.map(({ seq }) => seq) }] : [];
    });
    const ways = named.reduce((product, { seqs }) => product * (seqs.length + 1), 1);
    const rows = ways <= waysMax ? named.map((each) => [each]) : inOrderOfMembers(named);
    let shown: ReadonlyMap<string, number>[] = [new Map()];
    for (const row of rows) {
      const stages = stagesOf(row);
      shown = shown.flatMap((before) => stages.map((stage) => new Map([...before, ...stage])));
    }
    return shown.map(
      (stage): Reach =>
        (name, id) =>
          Math.max(reach(name, id), stage.get(id) ?? 0),
    );
  }

  /** The writes to a key within reach. */
  sharesOf(key: string, reach: Reach): readonly KeyState[] {
    const namespace = key.slice(0, key.indexOf('.'));
    return this.writesTo(key)
      .filter(({ sourceId, seq }) => this.isWithin(reach, namespace, sourceId, seq))
      .map(({ state }) => state);
  }

  #of(namespace: string, sourceId: string, seq: number): Remembered | undefined {
    return this.#records.get(`${namespace}/${sourceId}`)?.list[seq - 1];
  }

  #upTo(reach: Reach, namespace: string, sourceId: string): number {
    return Math.min(reach(namespace, sourceId), this.#ends.get(`${namespace}/${sourceId}`) ?? Number.POSITIVE_INFINITY);
  }

  #forMissing(reach: Reach, visit: (known: Remembered) => void): void {
    for (const { namespace, sourceId, list } of this.#records.values()) {
      for (let seq = this.#upTo(reach, namespace, sourceId) + 1; seq <= list.length; seq++) visit(list[seq - 1]!);
    }
  }
}

/** Writes to one key by one source that may be shown. */
interface Named {
  readonly id: string;
  readonly seqs: readonly number[];
}

/** In how many ways a key may be shown, all of them tried. */
const waysMax = 1_000;

function inOrderOfMembers(named: readonly Named[]): Named[][] {
  const members = new Map<string, Named[]>();
  for (const each of named) {
    const origin = each.id.slice(0, each.id.indexOf(':'));
    members.set(origin, [...(members.get(origin) ?? []), each]);
  }
  return [...members.values()].map((row) => row.sort((a, b) => (a.id < b.id ? -1 : 1)));
}

/** One write after the other: by source, up to which it is shown. Nothing first. */
function stagesOf(row: readonly Named[]): readonly ReadonlyMap<string, number>[] {
  let stage: ReadonlyMap<string, number> = new Map();
  const stages = [stage];
  for (const { id, seqs } of row) for (const seq of seqs) stages.push((stage = new Map([...stage, [id, seq]])));
  return stages;
}

function fingerprintOf({ ms, count, operations }: LogRecord): string {
  let text = `${ms}.${count}`;
  for (const operation of operations) {
    text += `|${operation.op} ${operation.key} ${operation.version}`;
    if (operation.op === 'put') text += ` ${operation.json} ${operation.expiresMs}`;
    else if (operation.op === 'add') text += ` ${operation.plus} ${operation.minus}`;
    else if (operation.op === 'members')
      for (const { member, present } of operation.changes) text += ` ${member}${present}`;
  }
  return text;
}
