import {
  Cell,
  type Commit,
  decodeRecord,
  encodeRecord,
  isCausal,
  join,
  type KeyState,
  Sources,
  type Strategy,
  stateOf,
  type View,
  type Write,
} from '../../replica/index.ts';
import { Instance, type Message } from './instance.ts';
import type { Mutant } from './mutants.ts';
import { Random } from './random.ts';
import { Scheduler } from './scheduler.ts';

export interface SimulationOptions {
  readonly seed: number;
  readonly mutant?: Mutant;
  /** Virtual time during which writes and faults come. Default 60,000. */
  readonly turmoilMs?: number;
}

/** What a simulated run found. Equal seeds give equal results, `traceHash` included. */
export interface SimulationResult {
  readonly seed: number;
  /** What must not be and was: empty for a good run. */
  readonly problems: readonly string[];
  readonly instances: number;
  readonly events: number;
  readonly virtualMs: number;
  readonly acknowledged: number;
  readonly crashes: number;
  /** Of every event with its time: 8 hexadecimal digits. */
  readonly traceHash: string;
}

interface Acknowledged {
  readonly namespace: string;
  readonly sourceId: string;
  readonly seq: number;
  readonly by: string;
}

const strategies: Readonly<Record<string, Strategy>> = {
  plain: { kind: 'lww' },
  approvals: { kind: 'version-vector', resolver: 'revoke-wins' },
  grants: { kind: 'version-vector', resolver: 'add-wins' },
  counts: { kind: 'counter' },
  groups: { kind: 'set', resolver: 'add-wins' },
};
const namespaces = Object.keys(strategies);
const keysPerNamespace = 6;
/** Time without faults in which everything must have settled. */
const calmMs = 90_000;

/**
 * Runs a cluster from one seed: writes, partitions, loss, repetition, reordering, crashes, full disks, wrong clocks and
 * late joiners, each seed with a subset of its own; then calm; then the checks. The replica and the exchange are those
 * that nodes run.
 *
 * @example
 * const { problems } = simulate({ seed: 42 });
 * if (problems.length > 0) console.log(problems);
 */
export function simulate(options: SimulationOptions): SimulationResult {
  return new Simulation(options).run();
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #random: Random;
  readonly #scheduler = new Scheduler();
  readonly #instances: Instance[] = [];
  readonly #cut = new Set<string>();
  readonly #acknowledged: Acknowledged[] = [];
  /** What every key would hold if nothing ever went wrong: the join of all that became durable somewhere. */
  readonly #oracle = new Map<string, KeyState>();
  readonly #sources = new Sources();
  readonly #problems: string[] = [];
  readonly #faults: {
    loss: number;
    repeat: number;
    slow: number;
    crash: boolean;
    full: boolean;
    clocks: boolean;
    cuts: boolean;
    late: boolean;
  };
  #isCalm = false;
  #crashes = 0;
  #hash = 0x811c9dc5;

  constructor(options: SimulationOptions) {
    this.#options = options;
    const random = (this.#random = new Random(options.seed));
    // Swarm testing: a seed that tries few faults at once goes deeper into each.
    this.#faults = {
      loss: random.chance(0.6) ? random.next() * 0.4 : 0,
      repeat: random.chance(0.4) ? 0.2 : 0,
      slow: random.chance(0.4) ? 4_000 : 60,
      crash: random.chance(0.6),
      full: random.chance(0.3),
      clocks: random.chance(0.5),
      cuts: random.chance(0.7),
      late: random.chance(0.4),
    };
    const count = random.int(2, 4);
    const origins = Array.from({ length: count }, (_, i) => (i + 1).toString(16).padStart(16, '0'));
    for (const [i, origin] of origins.entries()) {
      const instance = new Instance(
        {
          origin,
          peers: origins.filter((other) => other !== origin),
          scheduler: this.#scheduler,
          random,
          strategyOf: (namespace) => strategies[namespace]!,
          send: (to, message) => this.#send(origin, to, message),
          onDurable: (commit) => this.#remember(commit),
          onProblem: (problem) => this.#problems.push(problem),
          mutant: options.mutant,
        },
        !(this.#faults.late && i === count - 1),
      );
      this.#instances.push(instance);
    }
  }

  run(): SimulationResult {
    const turmoilMs = this.#options.turmoilMs ?? 60_000;
    const lateMs = this.#faults.late ? turmoilMs / 2 : 0;
    this.#instances.forEach((instance, i) => {
      const delayMs = i === this.#instances.length - 1 ? lateMs : 0;
      this.#scheduler.after(delayMs, () => this.#startInstance(instance));
    });
    this.#write();
    this.#disturb();
    this.#scheduler.runUntil(turmoilMs);
    this.#calm();
    this.#scheduler.runUntil(turmoilMs + calmMs);
    this.#check();
    return {
      seed: this.#options.seed,
      problems: [...new Set(this.#problems)],
      instances: this.#instances.length,
      events: this.#scheduler.ran,
      virtualMs: this.#scheduler.nowMs,
      acknowledged: this.#acknowledged.length,
      crashes: this.#crashes,
      traceHash: (this.#hash >>> 0).toString(16).padStart(8, '0'),
    };
  }

  #startInstance(instance: Instance): void {
    if (instance.isUp) return;
    this.#trace(`start ${instance.origin}`);
    instance.start();
    for (const other of this.#instances) {
      if (other === instance || !other.isUp) continue;
      instance.linked(other.origin, true);
      other.linked(instance.origin, true);
    }
  }

  /** One write or read somewhere, and then the next one. */
  #write(): void {
    const { chance, int } = bound(this.#random);
    const up = this.#instances.filter(({ isUp }) => isUp);
    if (up.length > 0) {
      const instance = this.#random.pick(up);
      if (chance(0.15)) this.#read(instance);
      else this.#submit(instance);
    }
    this.#scheduler.after(int(1, 120), () => {
      if (!this.#isCalm) this.#write();
    });
  }

  #submit(instance: Instance): void {
    const namespace = this.#random.pick(namespaces);
    const { life } = instance;
    const writes = this.#writes(namespace);
    instance.submit({ writes, atomic: writes.length > 1, sizeBytes: 64 }, (outcome) => {
      if (!outcome.ok || instance.life !== life) return;
      for (const result of outcome.results) {
        if (!result.ok) continue;
        const token = instance.replica.parseToken(result.token)!;
        this.#acknowledged.push({ namespace, sourceId: token.source.id, seq: token.seq, by: instance.origin });
      }
    });
  }

  #writes(namespace: string): Write[] {
    const { chance, int } = bound(this.#random);
    const key = () => `${namespace}.k${int(1, keysPerNamespace)}`;
    const kind = strategies[namespace]!.kind;
    if (kind === 'counter') return [{ op: 'add', namespace, key: key(), amount: int(1, 5) }];
    if (kind === 'set') {
      const members = [JSON.stringify(`m${int(1, 4)}`)];
      return [{ op: chance(0.6) ? 'set-add' : 'set-remove', namespace, key: key(), members }];
    }
    const one = (): Write =>
      chance(0.3)
        ? { op: 'delete', namespace, key: key() }
        : {
            op: 'put',
            namespace,
            key: key(),
            json: String(int(0, 1_000_000)),
            ...(chance(0.1) && { ttlMs: int(500, 20_000) }),
          };
    return chance(0.1) ? [one(), one()] : [one()];
  }

  /** A namespace that is not whole must not be read; what nobody deleted and all others see must not be absent. */
  #read(instance: Instance): void {
    const namespace = this.#random.pick(namespaces);
    const key = `${namespace}.k${this.#random.int(1, keysPerNamespace)}`;
    const seen = instance.read(key)?.seenAt(instance.wallMs);
    if (instance.isWhole || instance.read(key) === undefined || seen !== undefined) return;
    const others = this.#instances.filter((other) => other !== instance && other.isUp && other.isWhole);
    if (others.length > 0 && others.every((other) => other.read(key)?.seenAt(other.wallMs) !== undefined)) {
      this.#problems.push('a namespace that was still being loaded was read as empty');
    }
  }

  #disturb(): void {
    const { chance, int, pick } = bound(this.#random);
    const instance = pick(this.#instances);
    const { crash, full, clocks, cuts } = this.#faults;
    if (crash && instance.isUp && chance(0.3)) {
      this.#trace(`crash ${instance.origin}`);
      this.#crashes++;
      instance.crash();
      for (const other of this.#instances) other.linked(instance.origin, false);
      this.#scheduler.after(int(100, 8_000), () => this.#startInstance(instance));
    }
    if (full && chance(0.2)) {
      instance.disk.isFull = true;
      this.#scheduler.after(int(100, 3_000), () => {
        instance.disk.isFull = false;
      });
    }
    if (clocks && chance(0.3)) instance.clockOffsetMs = int(-5_000, 5_000);
    if (cuts && chance(0.4)) {
      const other = pick(this.#instances);
      // One way only, now and then: the hardest kind.
      const ways = chance(0.3)
        ? [[instance, other]]
        : [
            [instance, other],
            [other, instance],
          ];
      for (const [from, to] of ways) this.#cut.add(`${from!.origin}>${to!.origin}`);
      this.#scheduler.after(int(500, 15_000), () => {
        for (const [from, to] of ways) this.#cut.delete(`${from!.origin}>${to!.origin}`);
      });
    }
    this.#scheduler.after(int(200, 3_000), () => {
      if (!this.#isCalm) this.#disturb();
    });
  }

  #calm(): void {
    this.#isCalm = true;
    this.#cut.clear();
    for (const instance of this.#instances) {
      instance.disk.isFull = false;
      instance.clockOffsetMs = 0;
      this.#startInstance(instance);
    }
  }

  #send(from: string, to: string, message: Message): void {
    const { loss, repeat, slow } = this.#faults;
    const { chance, int } = bound(this.#random);
    this.#trace(`${from}>${to} ${message.type}`);
    const copies = !this.#isCalm && chance(repeat) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (!this.#isCalm && (chance(loss) || this.#cut.has(`${from}>${to}`))) continue;
      this.#scheduler.after(int(1, this.#isCalm ? 30 : slow), () => {
        this.#instances.find(({ origin }) => origin === to)?.receive(from, message);
      });
    }
  }

  #remember(commit: Commit): void {
    // Sources are compared by identity, so the oracle needs its own.
    const record = decodeRecord(encodeRecord(commit.record), this.#sources);
    record.operations.forEach((operation, idx) => {
      const before = this.#oracle.get(operation.key);
      const causal = strategies[record.namespace]!.kind === 'version-vector' || isCausal(operation);
      this.#oracle.set(operation.key, join(before, stateOf(record, idx, causal)));
    });
  }

  #check(): void {
    const nowMs = Math.max(...this.#instances.map(({ wallMs }) => wallMs));
    for (const instance of this.#instances) {
      const { origin } = instance;
      if (!instance.isWhole) this.#problems.push('an instance never held everything whole');
      for (const { namespace, sourceId, seq } of this.#acknowledged) {
        if (instance.headOf(namespace, sourceId) < seq)
          this.#problems.push('an acknowledged write never reached an instance');
      }
      for (const namespace of namespaces) {
        for (let i = 1; i <= keysPerNamespace; i++) {
          const key = `${namespace}.k${i}`;
          const expected = this.#oracle.get(key);
          const cell = new Cell(expected, 0, strategies[namespace]!);
          const [want, have] = [shown(cell.seenAt(nowMs)), shown(instance.read(key)?.seenAt(nowMs))];
          if (want !== have)
            this.#problems.push(
              `instance ${origin.slice(-1)} does not hold what was written to ${key}: ${have}, not ${want}`,
            );
        }
      }
    }
  }

  #trace(text: string): void {
    for (const character of `${this.#scheduler.nowMs} ${text}`) {
      this.#hash = Math.imul(this.#hash ^ character.charCodeAt(0), 0x01000193);
    }
  }
}

function shown(view: View | undefined): string {
  if (view === undefined) return 'absent';
  return view.kind === 'siblings' ? view.siblings.map(({ json }) => json).join('|') : (view.json ?? 'bytes');
}

const bound = (random: Random) => ({
  chance: (probability: number) => random.chance(probability),
  int: (min: number, max: number) => random.int(min, max),
  pick: <Item>(items: readonly Item[]) => random.pick(items),
});
