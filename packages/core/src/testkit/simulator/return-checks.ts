import {
  type Context,
  type Dot,
  decodeCell,
  everyDot,
  headOf,
  type LogRecord,
  liveKey,
  type Members,
  type Operation,
  type ParkedWrite,
  parkedKey,
  type Siblings,
} from '../../replica/index.ts';
import { namespaceOf, reachOf, together, valueAt } from './checks.ts';
import type { Instance } from './instance.ts';
import type { Oracle, Reach } from './oracle.ts';
import { strategies } from './plan.ts';
import { straysOf } from './strays.ts';

type MemberChange = Extract<Operation, { readonly op: 'members' }>['changes'][number];

/** What must hold in the end where members were evicted. */
export class ReturnChecks {
  readonly #oracle: Oracle;
  readonly #instances: readonly Instance[];
  readonly #problem: (problem: string) => void;
  readonly #reach: Reach;
  readonly #nowMs: number;

  constructor(oracle: Oracle, instances: readonly Instance[], problem: (problem: string) => void) {
    this.#oracle = oracle;
    this.#instances = instances;
    this.#problem = problem;
    this.#nowMs = Math.max(...instances.map(({ replica, wallMs }) => replica.readMs(wallMs)));
    this.#reach = together(instances.map(reachOf));
  }

  /**
   * Something became of each write that an evicted member alone had: it takes part again, something later is known, or
   * an operator is shown it. @param isOffered whether a record was told to have been offered
   */
  run(isOffered: (name: string) => boolean): void {
    const withdrawn = this.#oracle.withdrawnBeyond(this.#reach);
    const letGo = this.#oracle.letGoBeyond(this.#reach);
    for (const record of withdrawn) {
      const { namespace, source, seq } = record;
      if (!isOffered(`${namespace}/${source.id}/${seq}`))
        this.#problem('what an evicted member alone had was not offered again');
      for (const [idx, operation] of record.operations.entries()) {
        const id = `${namespace}:${source.id}:${seq}:${idx}`;
        // Its member was evicted again before anybody had the offer: that is looked at in its turn, as a write of its own,
        // unless the log had let go of it, which is reported.
        const isCarriedOn = [...withdrawn, ...letGo].some((offered) => isOfferOf(offered, record, operation));
        if (!isCarriedOn && !this.#isParked(id) && !this.#isKnown(record, operation, { source, seq, idx }))
          this.#problem(`a write to \`${namespace}\` that an evicted member alone had is gone`);
      }
    }
  }

  /**
   * Nothing is counted twice, and nothing is missing that is not parked.
   * @param attempted all that was added to the counter, @param acknowledged of it what was acknowledged
   */
  sums(attempted: number, acknowledged: number): void {
    for (const instance of this.#instances) {
      if (!instance.holdings.isOfInterest('sums')) continue;
      const parked = this.#oracle
        .keysOf('_sys')
        .map((key) => this.#parkedAt(instance, key))
        .reduce((sum, write) => sum + (write?.key === 'sums.all' ? (write.amount ?? 0) : 0), 0);
      const counted = valueAt(instance, 'sums.all', 0) + parked;
      if (counted > attempted) this.#problem('a counter is more than was added to it');
      if (counted < acknowledged) this.#problem('what was added to a counter before an eviction is gone');
    }
  }

  /** Members that are gone hold nothing back: what is over leaves the disks of those that stay. */
  purged(): void {
    for (const key of this.#oracle.keys()) {
      if (strategies[namespaceOf(key)]!.kind === 'counter') continue;
      for (const { disk, replica, holdings } of this.#instances) {
        const row = disk.get('live', liveKey(key));
        if (row === undefined || !holdings.isOfInterest(namespaceOf(key))) continue;
        const cell = decodeCell(row, replica.sources, strategies[namespaceOf(key)]!);
        if (cell.view === undefined)
          this.#problem('a deletion was not forgotten though only a member that left lacks it');
      }
    }
  }

  #isParked(id: string): boolean {
    const key = parkedKey(id);
    return this.#instances.every((instance) => {
      const cell = instance.cell(key);
      return cell !== 'damaged' && cell.state !== undefined;
    });
  }

  #parkedAt(instance: Instance, key: string): ParkedWrite | undefined {
    if (!key.startsWith(parkedKey(''))) return undefined;
    return valueAt<ParkedWrite | undefined>(instance, key, undefined);
  }

  /** Whether states show the write itself, or what they know to have overwritten it, though it does not count. */
  #isStray(key: string, { source, seq }: Dot): boolean {
    return this.#instances.some((instance) => {
      const cell = instance.cell(key);
      if (cell === 'damaged' || cell.state === undefined) return false;
      if ((straysOf(instance, namespaceOf(key)).get(source.id) ?? 0) < seq) return false;
      return everyDot(cell.state).some((dot) => dot.source.id === source.id && dot.seq >= seq);
    });
  }

  /** Whether what is known of the key includes a write or stands for something later. */
  #isKnown({ ms, count }: LogRecord, operation: Operation, dot: Dot): boolean {
    if (this.#isStray(operation.key, dot)) return true;
    // How much of a counter was known otherwise `sums` and the states of all say.
    if (operation.op === 'add' || operation.op === 'reset') return true;
    return this.#oracle.sharesOf(operation.key, this.#reach).some((share) => {
      if (share.kind === 'version') return share.ms > ms || (share.ms === ms && share.count >= count);
      if (share.kind === 'siblings') return isCovered(share.context, dot) || this.#isOver(share, operation, ms);
      return (
        share.kind === 'members' &&
        operation.op === 'members' &&
        operation.changes.every((change) => this.#isMemberKnown(operation.key, change, dot))
      );
    });
  }

  /**
   * Whether a write that the operation had not seen is over, and wins: then the operation need not take part. Nor need it
   * beside a later one that will expire and that stands for both: it shows neither before nor after.
   */
  #isOver({ live }: Siblings, operation: Operation, ms: number): boolean {
    const strategy = strategies[namespaceOf(operation.key)]!;
    const resolver = strategy.kind === 'version-vector' ? strategy.resolver : undefined;
    return (
      operation.op === 'put' &&
      live.some((version) => {
        const { json, expiresMs } = version;
        if (isCovered(operation.context ?? [], version)) return false;
        const isLater = version.ms >= ms;
        if (json === undefined || (expiresMs !== 0 && expiresMs <= this.#nowMs))
          return resolver === 'revoke-wins' || isLater;
        return expiresMs !== 0 && isLater && resolver !== 'siblings';
      })
    );
  }

  /**
   * Whether a change of a set's member is known, or undone by what its writer itself did after its return. A removal needs
   * nothing where nobody shows what it had seen: states may have shown it as well, and it is forgotten since.
   */
  #isMemberKnown(key: string, { member, present, context }: MemberChange, dot: Dot): boolean {
    const { origin, epoch } = dot.source;
    if (!present && !this.#instances.some((instance) => showsAny(instance, key, member, context))) return true;
    const isUndone = (mark: Members['members'][number]['live'][number]) =>
      !mark.present && mark.source.origin === origin && mark.source.epoch > epoch;
    return this.#oracle.sharesOf(key, this.#reach).some((share) => {
      if (share.kind !== 'members') return false;
      return share.members.some(
        (each) => each.member === member && (isCovered(each.context, dot) || (present && each.live.some(isUndone))),
      );
    });
  }
}

/** Whether a set shows a member for an addition that a context covers. */
function showsAny(instance: Instance, key: string, member: string, context: Context): boolean {
  const cell = instance.cell(key);
  if (cell === 'damaged' || cell.state?.kind !== 'members') return false;
  return cell.state.members.some(
    (each) => each.member === member && each.live.some((mark) => mark.present && isCovered(context, mark)),
  );
}

/** Whether a record is what an operation was offered as: under a later source of its writer, with its old time. */
const isOfferOf = (offered: LogRecord, { namespace, source, ms, count }: LogRecord, { op, key }: Operation) =>
  offered.namespace === namespace &&
  offered.source.origin === source.origin &&
  offered.source.epoch > source.epoch &&
  offered.ms === ms &&
  offered.count === count &&
  offered.operations.some((operation) => operation.op === op && operation.key === key);

const isCovered = (context: Context, dot: Dot) =>
  headOf(new Map(context.map(({ source, seq }) => [source, seq])), dot.source) >= dot.seq;
