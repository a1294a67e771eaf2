import {
  Cell,
  covers,
  decodeCell,
  type KeyState,
  liveKey,
  namespaceOf,
  type Replica,
  readMetadata,
  Sources,
  type Version,
} from '../../replica/index.ts';
import { shown } from './checks.ts';
import type { Disk } from './disk.ts';
import type { Instance } from './instance.ts';
import type { Action, MemberPlan } from './plan.ts';
import { Random } from './random.ts';
import { isRecord, recordName } from './state-repair.ts';

/**
 * What a disk does to a row. `fact` and `record`: bits flip in a row of the facts or of the log, and its check tells.
 * `loss`: a row of the facts is gone, and nothing tells.
 */
export type Rot = 'fact' | 'record' | 'loss';

export type RotAction = Extract<Action, { readonly do: 'rot' }>;

type Row = readonly [key: Uint8Array, value: Uint8Array];

const rotChance = 0.4;
const rottenSeed = 0xb17f11b5;
/** What no check accepts. */
const flipped = Uint8Array.of(0xff);

/**
 * What rots in a run, at one member: where two lose their copies of the same fact, nobody can mend it. None where a disk
 * may go back besides, which takes sound copies along.
 */
export function drawRot(
  seed: number,
  members: readonly MemberPlan[],
  endMs: number,
  others: readonly Action[],
): Action[] {
  const random = new Random(seed ^ rottenSeed);
  const isUnsafe = others.some((action) => /^(lie|restore|clone)$/.test(action.do));
  const whole = members.filter(({ startMs, interest }) => startMs === 0 && interest === 'all');
  if (!random.chance(rotChance) || isUnsafe || whole.length < 2) return [];
  const at = random.int(0, members.length - 1);
  const actions: Action[] = [];
  for (let atMs = random.int(2_000, 8_000); atMs < endMs; atMs += random.int(300, 4_000)) {
    const what = random.pick<Rot>(['fact', 'fact', 'record', 'loss']);
    actions.push({ atMs, do: 'rot', at, what, place: random.next() });
  }
  return actions;
}

/** Lets rows rot, and knows which facts may look lost until they are found again. */
export class BitRot {
  readonly #instances: readonly Instance[];
  /** By fact: whose disks lost it without a trace. */
  readonly #lost = new Map<string, Set<number>>();
  #isCalm = false;

  constructor(instances: readonly Instance[]) {
    this.#instances = instances;
  }

  /** Whether a fact was lost somewhere without a trace: until it is found, readers are told that it is absent. */
  isLost(key: string): boolean {
    return !this.#isCalm && this.#lost.has(key);
  }

  /**
   * Whether a disk lost a fact without a trace and does not hold all of it again: what is written to it before it is
   * found begins from nothing. @param expected what it holds where nothing is lost
   */
  isLostAt(key: string, at: number, expected: () => KeyState | undefined): boolean {
    if (!this.wasLostAt(key, at)) return false;
    const instance = this.#instances[at]!;
    const row = instance.disk.get('live', liveKey(key));
    if (row === undefined) return true;
    const held = instance.cell(key);
    const strategy = instance.replica.strategyOf(namespaceOf(key));
    return held !== 'damaged' && shown(held.seenAt(0)) !== shown(new Cell(expected(), 0, strategy).seenAt(0));
  }

  /** Whether a fact was ever lost without a trace. */
  wasLost(key: string): boolean {
    return this.#lost.has(key);
  }

  /** Whether a disk ever lost a fact without a trace: its log goes on telling what was written to nothing then. */
  wasLostAt(key: string, at: number): boolean {
    return this.#lost.get(key)?.has(at) === true;
  }

  /** From here on everything must be found again. */
  calm(): void {
    this.#isCalm = true;
  }

  /** @returns whether there was something to rot of which a sound copy exists elsewhere */
  strike({ at, what, place }: RotAction): boolean {
    const instance = this.#instances[at]!;
    const family = what === 'record' ? 'log' : 'live';
    const isBehind = this.#behind(instance);
    const rows = instance.disk
      .rows(family)
      .filter(
        (row) => this.#isElsewhere(instance, what, row) && (what === 'record' || !isNeeded(instance, row, isBehind)),
      );
    const row = rows[Math.floor(place * rows.length)];
    if (row === undefined) return false;
    const [key] = row;
    if (what === 'loss') {
      const text = String.fromCharCode(...key);
      this.#lost.set(text, (this.#lost.get(text) ?? new Set()).add(at));
    }
    instance.disk.rot(family, key, what === 'loss' ? undefined : flipped);
    return true;
  }

  /** Tells of a namespace whether some disk holds records that an instance lacks. */
  #behind({ disk }: Instance): (namespace: string) => boolean {
    const sources = new Sources();
    const vectorsOn = (at: Disk) => readMetadata(at.rows('metadata'), sources).namespaces;
    const own = vectorsOn(disk);
    const others = this.#instances.map((other) => vectorsOn(other.disk));
    return (namespace) =>
      others.some((each) => !covers(own.get(namespace)?.heads ?? new Map(), each.get(namespace)?.heads ?? new Map()));
  }

  #isElsewhere(instance: Instance, what: Rot, [key, value]: Row): boolean {
    const others = this.#instances.filter((other) => other.member !== instance.member && other.disk.notes.isSettled);
    if (what === 'record') {
      const { namespace, source: id, seq } = recordName(key);
      return others.some(({ isUp, holdings, replica, disk }) => {
        if (!isUp) return false;
        const source = replica.sources.parse(id)!;
        const row = disk.get('log', key);
        return holdings.holds(namespace, source, seq) && row !== undefined && isRecord(row, replica);
      });
    }
    const text = String.fromCharCode(...key);
    if (!others.some(({ holdings }) => holdings.isOfInterest(namespaceOf(text)))) return false;
    return what === 'fact' || isLasting(text, value, instance.replica);
  }
}

/**
 * Whether a row holds the memory of something that is over, while writes that it may stand for are still to come here.
 * The others forget a deletion once this instance has said that it holds it. If its disk loses it then, nobody can give
 * it back, and what comes later finds nothing that beats it (docs/replication.md, limits).
 */
function isNeeded({ replica }: Instance, [key, row]: Row, isBehind: (namespace: string) => boolean): boolean {
  const text = String.fromCharCode(...key);
  const namespace = namespaceOf(text);
  if (!isBehind(namespace)) return false;
  try {
    const { state } = decodeCell(row, replica.sources, replica.strategyOf(namespace));
    return state !== undefined && remembersEnd(state);
  } catch {
    return false;
  }
}

/** Whether a state tells that something was deleted, or will be over. */
function remembersEnd(state: KeyState): boolean {
  switch (state.kind) {
    case 'version':
      return isOver(state);
    case 'siblings':
      return state.live.some(isOver);
    case 'counter':
      return state.windowMs !== 0;
    case 'members':
      return state.members.some(({ live }) => live.some(({ present }) => !present));
  }
}

const isOver = ({ json, bytes, expiresMs }: Version) => expiresMs !== 0 || (json === undefined && bytes === undefined);

/**
 * Whether a row that vanishes is found missing: what expires and what was deleted is not compared, as it may have been
 * purged; and a counter goes on from nothing before it is.
 */
function isLasting(key: string, row: Uint8Array, replica: Replica): boolean {
  const strategy = replica.strategyOf(namespaceOf(key));
  if (strategy.kind === 'counter') return false;
  try {
    const { view } = decodeCell(row, replica.sources, strategy);
    return view !== undefined && view.kind !== 'absent' && view.expiresMs === 0;
  } catch {
    return false;
  }
}
