import {
  type Commit,
  decodeRecord,
  distance,
  type LogRecord,
  quarantineAheadMs,
  type Write,
  type WriteOutcome,
} from '../../replica/index.ts';
import { BitRot } from './bit-rot.ts';
import { BlindWrites } from './blind-writes.ts';
import { type Acknowledged, Checks, FinalChecks, reachOf, reachOfDisk, together } from './checks.ts';
import { digestProblems, isRepaired } from './digest-checks.ts';
import type { Disk } from './disk.ts';
import { drawPlan } from './draw.ts';
import { checkFolded, epochTimesOf, isFoldedAt } from './folding.ts';
import { Followers } from './followers.ts';
import { Instance } from './instance.ts';
import { Membership } from './membership.ts';
import type { Mutant } from './mutants.ts';
import { type Mutation, mutationOf } from './mutation.ts';
import { Network } from './network.ts';
import { Oracle } from './oracle.ts';
import type { Action, Plan } from './plan.ts';
import { Broker, DirectPlane, noPlane, type Plane } from './plane.ts';
import { Random } from './random.ts';
import { Returns } from './return.ts';
import { ReturnChecks } from './return-checks.ts';
import { Scheduler } from './scheduler.ts';
import { isRecord } from './state-repair.ts';
import { lacksStrays } from './strays.ts';

/** What a simulated run found. Equal plans give equal results, `traceHash` included. */
export interface SimulationResult {
  readonly seed: number;
  /** What must not be and was: empty for a good run. */
  readonly problems: readonly string[];
  readonly instances: number;
  readonly events: number;
  readonly virtualMs: number;
  readonly acknowledged: number;
  readonly crashes: number;
  /** Of every message and fault with its time: 8 hexadecimal digits. */
  readonly traceHash: string;
}

/** Time without faults in which everything must have settled, counted anew whenever an instance has come closer to it. */
const settleMaxMs = 90_000;
/** Time after that in which purging must bring nothing back. */
const restMs = 8_000;
/** How often effects are compared with vectors while faults go on. */
const effectsMs = 15_000;
/** How often everything stored is looked at, where something may rot. */
const scrubMs = 8_000;

/**
 * Runs a cluster from one seed, or from a plan: writes, reads and faults; then calm; then the checks. The replica, the
 * exchange and the deliveries are those that nodes run.
 *
 * @example
 * const { problems } = simulate({ seed: 42 });
 * if (problems.length > 0) console.log(problems);
 */
export function simulate(what: { readonly seed: number } | { readonly plan: Plan }, mutant?: Mutant): SimulationResult {
  return new Simulation('plan' in what ? what.plan : drawPlan(what.seed), mutant).run();
}

class Simulation {
  readonly #plan: Plan;
  readonly #mutation: Mutation;
  readonly #random: Random;
  readonly #feedRandom: Random;
  readonly #scheduler = new Scheduler();
  readonly #network: Network;
  readonly #plane: Plane;
  readonly #oracle: Oracle;
  readonly #blind: BlindWrites;
  readonly #checks: Checks;
  readonly #rot: BitRot;
  /** Whether rows rot, and whether disks lose what they promised to keep. */
  readonly #rots: boolean;
  readonly #loses: boolean;
  /** By member; clones behind. */
  readonly #instances: Instance[] = [];
  readonly #joined = new Set<number>();
  readonly #copies = new Map<Instance, Disk>();
  readonly #returns: Returns;
  readonly #followers: Followers;
  /** Members that left for good. */
  readonly #gone = new Set<Instance>();
  /** Records whose members offered them again, by namespace, source and number. */
  readonly #offered = new Set<string>();
  /** All that was added to `sums`, answered or not. */
  #added = 0;
  readonly #acknowledged: Acknowledged[] = [];
  readonly #problems = new Set<string>();
  #crashes = 0;
  #hash = 0x811c9dc5;

  constructor(plan: Plan, mutant: Mutant | undefined) {
    this.#plan = plan;
    this.#mutation = mutationOf(mutant);
    this.#random = new Random(plan.seed ^ 0x5eed);
    this.#feedRandom = new Random(plan.seed ^ 0xfeed);
    const trace = (text: string) => this.#trace(text);
    this.#network = new Network(this.#scheduler, this.#random, plan.network, trace);
    this.#plane =
      plan.plane === 'none'
        ? noPlane
        : plan.plane === 'direct'
          ? new DirectPlane(this.#network)
          : new Broker(this.#scheduler, this.#random, trace);
    this.#oracle = new Oracle((problem) => this.#problems.add(problem));
    this.#rots = plan.actions.some((action) => action.do === 'rot');
    this.#loses = plan.actions.some((action) => /^(lie|restore|clone)$/.test(action.do));
    this.#rot = new BitRot(this.#instances);
    this.#blind = new BlindWrites(this.#oracle);
    this.#checks = new Checks(
      this.#oracle,
      this.#blind,
      (problem) => this.#problems.add(problem),
      (key) => this.#rot.isLost(key),
    );
    this.#followers = new Followers({
      scheduler: this.#scheduler,
      instanceOf: (at) => this.#instances[at]!,
      keysOf: (namespace) => this.#oracle.keysOf(namespace),
      expected: (key, reach) => this.#oracle.expected(key, reach),
      isLost: (key) => this.#rot.isLost(key),
      wasLostAt: (key, at) => this.#rot.wasLostAt(key, at),
      isLostAt: (key, at) =>
        this.#rot.isLostAt(key, at, () => this.#oracle.expected(key, reachOf(this.#instances[at]!))),
      problem: (problem) => this.#problems.add(problem),
    });
    this.#returns = new Returns({
      scheduler: this.#scheduler,
      network: this.#network,
      oracle: this.#oracle,
      mutation: this.#mutation,
      holder: () => this.#instances[0]!,
      onBack: (instance) => this.#start(instance),
    });
    this.#instances.push(...plan.members.map((_, member) => this.#instance(member)));
    for (const { membership } of this.#instances)
      for (const [member, { startMs }] of plan.members.entries()) if (startMs === 0) membership.found(originOf(member));
  }

  run(): SimulationResult {
    const plan = this.#plan;
    const scheduler = this.#scheduler;
    // Members of the beginning know of each other and hold all there is: nothing.
    plan.members.forEach(({ startMs }, member) => {
      if (startMs > 0) return;
      this.#joined.add(member);
      this.#instances[member]!.disk.notes.isSettled = true;
    });
    for (const [member, { startMs }] of plan.members.entries()) scheduler.after(startMs, () => this.#join(member));
    for (const action of plan.actions) scheduler.after(action.atMs, () => this.#do(action));
    for (let atMs = effectsMs; atMs < plan.calmMs; atMs += effectsMs) scheduler.after(atMs, () => this.#compare());
    try {
      scheduler.runUntil(plan.calmMs);
      this.#calm();
      this.#settle();
    } catch (error) {
      this.#problems.add(`it threw: ${(error as Error).stack ?? error}`);
    }
    return {
      seed: plan.seed,
      problems: [...this.#problems],
      instances: this.#instances.length,
      events: scheduler.ran,
      virtualMs: scheduler.nowMs,
      acknowledged: this.#acknowledged.length,
      crashes: this.#crashes,
      traceHash: (this.#hash >>> 0).toString(16).padStart(8, '0'),
    };
  }

  #instance(member: number, disk?: Disk): Instance {
    const { durability, logCommitsMax, sliceBytes, members, leaseMs } = this.#plan;
    const membership = this.#instances[member]?.membership ?? new Membership(originOf(member), member === 0);
    const instance = new Instance(
      {
        origin: originOf(member),
        member,
        interest: members[member]!.interest,
        membership,
        leaseMs,
        originOf,
        scheduler: this.#scheduler,
        random: this.#random,
        feedRandom: this.#feedRandom,
        network: this.#network,
        plane: this.#plane,
        durability,
        logCommitsMax,
        sliceBytes,
        epochTimes: epochTimesOf(this.#plan),
        quarantineAheadMs: this.#plan.quarantineAheadMs ?? quarantineAheadMs,
        mutation: this.#mutation,
        onApplied: (at, commits) => this.#applied(at, commits),
        onDurable: (at, commits) => {
          for (const { record } of commits) if (record.source.origin === at.origin) this.#oracle.durable(record);
        },
        onFolding: ({ replica }, namespace, { source }) =>
          this.#oracle.folded(namespace, source, replica.headsOf(namespace)),
        onEvicted: (evicted) =>
          this.#scheduler.after(0, () => {
            if (!evicted.isUp) return;
            this.#trace(`return ${member}`);
            evicted.crash();
            this.#start(evicted);
          }),
        onOffered: ({ namespace, source, seq }) => void this.#offered.add(`${namespace}/${source.id}/${seq}`),
        onProblem: (problem) => this.#problems.add(problem),
        onRepaired: (_, keys) => this.#repaired(keys),
        scrubMs: this.#rots ? scrubMs : 0,
      },
      disk,
    );
    this.#network.add(instance);
    return instance;
  }

  /** Only what a disk lost may come back from a peer: anything else, the log has lost. */
  #repaired(keys: readonly string[]): void {
    if (this.#loses || keys.every((key) => this.#rot.wasLost(key))) return;
    this.#problems.add('a fact came back from a peer that no disk had lost');
  }

  #applied(at: Instance, commits: readonly Commit[]): void {
    for (const { record } of commits) {
      if (record.source.origin === at.origin) {
        this.#wrote(at, record);
        this.#blind.wrote(at.member, record, reachOf(at));
      } else if (!this.#mutation.tampers) this.#oracle.applied(record);
    }
  }

  #wrote(at: Instance, record: LogRecord): void {
    this.#oracle.wrote(record);
    // What an earlier start wrote may come back here that a disk had lost.
    if (at.replica.source === record.source && isFoldedAt(record.source, this.#others(at), record.namespace))
      this.#problems.add('a record was written that others take for one of those that they have folded');
  }

  #others(instance: Instance): readonly Instance[] {
    return this.#instances.filter((other) => other !== instance && other.isUp);
  }

  #join(member: number): void {
    const instance = this.#instances[member]!;
    if (instance.isUp) return;
    if (!this.#joined.has(member)) {
      this.#joined.add(member);
      const [holder] = this.#instances;
      for (const known of holder!.membership.list()) instance.membership.put(known);
      for (const other of this.#instances) other.membership.found(instance.origin);
    }
    this.#start(instance);
  }

  #start(instance: Instance): void {
    if (instance.isUp || !this.#joined.has(instance.member) || this.#gone.has(instance)) return;
    if (instance.membership.mayReturn) {
      this.#returns.begin(instance);
      return;
    }
    this.#trace(`start ${instance.member}`);
    const { disk } = instance;
    instance.start();
    if (isFoldedAt(instance.replica.source, this.#others(instance)))
      this.#problems.add('an instance began under a source that others have folded');
    this.#recovered(instance);
    this.#returns.started(instance);
    if (instance.replica.appliedCommit >= disk.notes.mark) return;
    // The store lacks commits that were acknowledged: the node refuses to start, and its operator lets it join again
    // with an empty directory, or accepts the loss where nobody else holds everything.
    instance.crash();
    this.#trace(`lossy ${instance.member}`);
    if (this.#isElsewhere(instance)) disk.wipe();
    disk.notes.mark = 0;
    instance.start();
    this.#lost();
  }

  /** Whether some other disk holds everything that this instance takes part in. */
  #isElsewhere({ member }: Instance): boolean {
    const interestOf = (at: number) => this.#plan.members[at]!.interest;
    const own = interestOf(member);
    return this.#instances.some(({ member: other, disk }) => {
      const theirs = interestOf(other);
      const isAll = theirs === 'all' || (own !== 'all' && own.every((name) => theirs.includes(name)));
      return other !== member && isAll && disk.notes.isSettled;
    });
  }

  /** What was written before a crash and not acknowledged may be there all the same. */
  #recovered({ disk, origin, replica }: Instance): void {
    for (const [, row] of disk.rows('log')) {
      if (!isRecord(row, replica)) continue;
      const record = decodeRecord(row, replica.sources);
      if (record.source.origin !== origin) continue;
      this.#oracle.wrote(record);
      this.#oracle.durable(record);
    }
  }

  /** A disk lost what it had promised to keep. What others have not synced may go with a crash of theirs, as it may. */
  #lost(): void {
    this.#oracle.lost(together(this.#staying().map(({ disk }) => reachOfDisk(disk.synced()))));
  }

  #do(action: Action): void {
    if (action.do === 'broker') {
      this.#plane.disturb(action.what, action.forMs);
      return;
    }
    if (action.do === 'follow') {
      this.#followers.follow(action);
      return;
    }
    const instance = this.#instances[action.at]!;
    const { disk } = instance;
    const after = (run: () => void) => this.#scheduler.after('forMs' in action ? action.forMs : 0, run);
    if (action.do !== 'write' && action.do !== 'read') this.#trace(`${action.do} ${action.at}`);
    switch (action.do) {
      case 'write':
        if (instance.isUp) this.#submit(instance, action.writes);
        return;
      case 'read':
        if (instance.isUp) this.#read(instance, action.keys);
        return;
      case 'crash':
        this.#crash(instance);
        after(() => this.#start(instance));
        return;
      case 'fill':
        disk.isFull = true;
        after(() => {
          disk.isFull = false;
        });
        return;
      case 'lie':
        disk.isLying = true;
        after(() => {
          this.#crash(instance);
          disk.isLying = false;
          this.#start(instance);
        });
        return;
      case 'copy':
        this.#copies.set(instance, disk.copy());
        return;
      case 'restore': {
        const copy = this.#copies.get(instance);
        // What all had lost comes back beside deletions that were forgotten without it: see docs/replication.md.
        const isBeyondAll = (disk: Disk) =>
          this.#oracle.isBeyond(together(this.#instances.map((each) => reachOfDisk(each.disk))), reachOfDisk(disk));
        if (copy === undefined || isBeyondAll(copy)) return;
        this.#crash(instance);
        this.#blind.wentBack(instance.member, reachOfDisk(disk));
        disk.restore(copy);
        // An old copy has to join again, as docs/replication.md says.
        disk.notes.isSettled = !this.#isElsewhere(instance);
        disk.notes.whole = disk.notes.goneBack = [];
        this.#start(instance);
        this.#lost();
        return;
      }
      case 'clone':
        if (!this.#joined.has(action.at)) return;
        this.#instances.push(this.#instance(action.at, disk.copy()));
        this.#start(this.#instances.at(-1)!);
        return;
      case 'cut':
        this.#network.cut(action.at, action.to, action.forMs);
        return;
      case 'rot':
        if (instance.isUp) this.#rot.strike(action);
        return;
      case 'away':
        for (const other of this.#plan.members.keys()) {
          this.#network.cut(action.at, other, action.forMs);
          this.#network.cut(other, action.at, action.forMs);
        }
        return;
      case 'evict': {
        const [holder] = this.#instances;
        if (this.#plan.leaseMs === undefined || holder === instance) return;
        if (!holder!.isUp || !this.#joined.has(action.at)) return;
        // Who sends away a member that alone holds writes of another gives those up: see docs/replication.md.
        if (holder!.exchange.known.mayHoldAlone(instance.origin)) return;
        holder!.membership.evict(instance.origin, holder!.exchange.known.heldOf(instance.origin), 'operator');
        after(() => this.#letReturn(instance));
        return;
      }
      case 'leave':
        if (action.at === 0 || !this.#joined.has(action.at)) return;
        this.#gone.add(instance);
        this.#crash(instance);
        return;
      case 'clock':
        instance.clockOffsetMs = action.offsetMs;
    }
  }

  /** An operator starts an evicted member with a token. */
  #letReturn(instance: Instance): void {
    instance.membership.hasToken = true;
    if (!instance.membership.mayReturn) return;
    instance.crash();
    this.#start(instance);
  }

  #crash(instance: Instance): void {
    if (!instance.isUp) return;
    this.#crashes++;
    instance.crash();
    if (instance.disk.isLying) this.#lost();
  }

  #submit(instance: Instance, writes: readonly Write[]): void {
    const first = writes[0]!;
    if (first.op === 'add' && first.namespace === 'sums') this.#added += first.amount;
    const about = {
      ...(first.op === 'add' && { amount: first.amount }),
      ...(first.op === 'set-add' && { member: first.members[0]! }),
    };
    instance.submit({ writes, atomic: writes.length > 1, sizeBytes: 64 }, (outcome: WriteOutcome) => {
      if (!outcome.ok) return;
      for (const result of outcome.results) {
        if (!result.ok) continue;
        const { namespace, source, seq } = instance.replica.parseToken(result.token)!;
        this.#acknowledged.push({ namespace, sourceId: source.id, seq, ...about });
      }
    });
  }

  #read(instance: Instance, keys: readonly string[]): void {
    this.#checks.read(instance, keys, instance.wallMs - instance.clockOffsetMs, this.#others(instance));
  }

  /** Compares what every instance holds with what its vector covers. */
  #compare(): void {
    for (const instance of this.#instances)
      if (instance.isUp) this.#checks.effects(instance, instance.wallMs - instance.clockOffsetMs);
  }

  #calm(): void {
    this.#network.calm();
    this.#plane.calm();
    for (const instance of this.#instances) {
      instance.disk.isFull = instance.disk.isLying = false;
      instance.clockOffsetMs = 0;
      this.#join(instance.member);
      instance.membership.hasToken = true;
      this.#start(instance);
    }
  }

  /** Everything must have come everywhere, without a long standstill; then it must stay so. */
  #settle(): void {
    this.#rot.calm();
    this.#followers.calm((at) => this.#gone.has(this.#instances[at]!), 0);
    let untilMs = this.#scheduler.nowMs + settleMaxMs;
    // The least so far: what is written or lost over and over again must not put the end off for ever.
    let lacking = Number.POSITIVE_INFINITY;
    while (!(this.#isSettled() && this.#followers.areSettled) && this.#scheduler.nowMs < untilMs) {
      this.#giveUp();
      this.#scheduler.runUntil(this.#scheduler.nowMs + 500);
      const left = this.#staying().reduce((sum, instance) => sum + this.#lackedBy(instance), 0);
      if (left >= lacking) continue;
      lacking = left;
      untilMs = this.#scheduler.nowMs + settleMaxMs;
    }
    if (!this.#isSettled()) this.#problems.add('the instances did not come to hold the same');
    else if (!this.#followers.areSettled) this.#problems.add('a subscriber was not told everything in time');
    this.#scheduler.runUntil(this.#scheduler.nowMs + restMs + (this.#plan.foldAfterMs ?? 0));
    // What begins by the clock may be under way at any moment, but not for long.
    for (let i = 0; i < 10 && this.#staying().some(isBusy); i++) this.#scheduler.runUntil(this.#scheduler.nowMs + 20);
    if (this.#staying().some(isBusy)) this.#problems.add('an instance at rest has work waiting');
    const problem = (text: string) => this.#problems.add(text);
    // What only those had that left for good is gone with them.
    if (this.#gone.size > 0) this.#lost();
    this.#blind.settled();
    for (const instance of this.#staying()) this.#checks.effects(instance, instance.wallMs);
    this.#followers.check();
    for (const text of [...digestProblems(this.#staying()), ...checkFolded(this.#staying())]) problem(text);
    new FinalChecks(this.#oracle, this.#staying(), problem).run(this.#acknowledged);
    const returned = new ReturnChecks(this.#oracle, this.#staying(), problem);
    returned.run((name) => this.#offered.has(name));
    const standing = this.#acknowledged.filter(
      (each) => !this.#oracle.isExcused(each.namespace, each.sourceId, each.seq),
    );
    returned.sums(
      this.#added,
      standing.reduce((sum, { namespace, amount = 0 }) => sum + (namespace === 'sums' ? amount : 0), 0),
    );
    if (this.#gone.size > 0) returned.purged();
  }

  /** Of a member that left for good nothing can be awaited: an operator evicts it, whatever it alone held. */
  #giveUp(): void {
    const { membership, exchange } = this.#instances[0]!;
    for (const { origin } of this.#gone)
      if (exchange.known.mayHoldAlone(origin)) membership.evict(origin, exchange.known.heldOf(origin), 'operator');
  }

  #staying(): readonly Instance[] {
    return this.#instances.filter((instance) => !this.#gone.has(instance));
  }

  #isSettled(): boolean {
    const staying = this.#staying();
    const isMember = ({ origin }: Instance) => staying.every(({ membership }) => membership.isActive(origin));
    if (this.#plan.leaseMs !== undefined && ![...this.#gone].every((gone) => !isMember(gone))) return false;
    return staying.every(
      (instance) =>
        instance.isUp &&
        isMember(instance) &&
        !this.#returns.isUnderWay(instance) &&
        instance.holdings.isSettled &&
        instance.replica.fence === undefined &&
        // What is not durable yet is told to nobody.
        instance.replica.durableCommit === instance.replica.appliedCommit &&
        this.#lackedBy(instance) === 0 &&
        // What is damaged is known only once it has been looked at.
        (!(this.#rots || this.#loses) || isRepaired(instance, this.#instances)),
    );
  }

  /** How many records an instance lacks of what each other holds, or holds back: 0 where it has applied all of them. */
  #lackedBy(instance: Instance): number {
    const { holdings, replica } = instance;
    let lacked = replica.heldBackCount;
    for (const other of this.#staying()) {
      for (const name of other.holdings.names()) {
        if (!holdings.isOfInterest(name)) continue;
        if (lacksStrays(instance, other, name)) lacked++;
        const theirs = [...other.holdings.headsOf(name)];
        const heads = theirs.map(([{ origin, epoch }, seq]) => [replica.sources.of(origin, epoch), seq] as const);
        lacked += distance(holdings.headsOf(name), new Map(heads));
      }
    }
    return lacked;
  }

  #trace(text: string): void {
    let hash = Math.imul(this.#hash ^ this.#scheduler.nowMs, 0x01000193);
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    this.#hash = hash;
  }
}

const originOf = (member: number) => (member + 1).toString(16).padStart(16, '0');

function isBusy({ replica }: Instance): boolean {
  const { queued, commitsInFlight } = replica.pressure();
  return queued + commitsInFlight > 0;
}
