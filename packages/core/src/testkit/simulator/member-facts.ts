import { isCutFinal, isToTell, type MemberState, newestOf } from '../../replica/index.ts';
import type { Instance } from './instance.ts';
import { type Membership, memberPrefix } from './membership.ts';

const retryMs = 1_000;

/** Keeps what an instance knows of its members and the facts about them equal: what one learns, the other is told. */
export class MemberFacts {
  readonly #instance: Instance;
  readonly #membership: Membership;

  constructor(instance: Instance, membership: Membership) {
    this.#instance = instance;
    this.#membership = membership;
  }

  start(): void {
    for (const { origin } of this.#membership.list()) this.check(origin);
  }

  /** Facts may have changed. */
  learn(): void {
    for (const { origin } of this.#membership.list()) if (this.#told(origin) !== undefined) this.check(origin);
  }

  /** The instance may know something new of a member. What was not stored is told again. */
  check(origin: string): void {
    const held = this.#membership.of(origin);
    const told = this.#told(origin);
    if (held !== undefined && isToTell(held, told, this.#instance.origin)) this.#tell(held);
    else if (told !== undefined) this.#membership.put(told);
  }

  #tell(member: MemberState): void {
    const key = memberPrefix + member.origin;
    const write = { op: 'put', namespace: '_sys', key, json: JSON.stringify(member) } as const;
    const event = (id: number) =>
      ({ type: 'submit', id, request: { writes: [write], atomic: false, sizeBytes: 64 } }) as const;
    this.#instance.ask(event, ({ ok }) => {
      if (!ok) this.#instance.later(retryMs, () => this.check(member.origin));
    });
  }

  /** Whether what counts of an evicted member can grow no more. */
  isCutFinal(member: MemberState): boolean {
    const cell = this.#instance.cell(memberPrefix + member.origin);
    const told = this.#told(member.origin);
    if (cell === 'damaged' || cell.state === undefined || told === undefined) return false;
    return isCutFinal(member, { member: told, state: cell.state }, this.#instance.exchange.known);
  }

  #told(origin: string): MemberState | undefined {
    const cell = this.#instance.cell(memberPrefix + origin);
    return cell === 'damaged' ? undefined : newestOf(cell.values as readonly MemberState[], (member) => member);
  }
}
