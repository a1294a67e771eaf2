import { isCutFinal, type MemberState, supersedes } from '../../replica/index.ts';
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
    for (const member of this.#membership.list()) {
      const held = this.#told(member.origin);
      if (held === undefined || held.sequence < member.sequence) this.changed(member);
      else this.#membership.put(held);
    }
  }

  /** The instance knows something new. */
  changed(member: MemberState): void {
    const key = memberPrefix + member.origin;
    const write = { op: 'put', namespace: '_sys', key, json: JSON.stringify(member) } as const;
    const event = (id: number) =>
      ({ type: 'submit', id, request: { writes: [write], atomic: false, sizeBytes: 64 } }) as const;
    this.#instance.ask(event, ({ ok }) => {
      if (!ok) this.#instance.later(retryMs, () => this.#again(member.origin));
    });
  }

  /** What was not stored is told again, unless something later is told meanwhile. */
  #again(origin: string): void {
    const held = this.#membership.of(origin);
    const told = this.#told(origin);
    if (held !== undefined && (told === undefined || supersedes(held, told))) this.changed(held);
  }

  /** Facts may have changed. */
  learn(): void {
    for (const { origin } of this.#membership.list()) {
      const told = this.#told(origin);
      if (told === undefined) continue;
      const held = this.#membership.of(origin);
      // Written by one that did not know better yet.
      if (held !== undefined && held.sequence > told.sequence) this.changed(held);
      else this.#membership.put(told);
    }
  }

  /** Whether what counts of an evicted member can grow no more. */
  isCutFinal(member: MemberState): boolean {
    const cell = this.#instance.cell(memberPrefix + member.origin);
    const told = this.#told(member.origin);
    if (cell === 'damaged' || cell.state === undefined || told === undefined) return false;
    return isCutFinal(member, { member: told, state: cell.state }, this.#instance.exchange);
  }

  #told(origin: string): MemberState | undefined {
    const cell = this.#instance.cell(memberPrefix + origin);
    const json = cell === 'damaged' ? undefined : cell.view?.json;
    return json === undefined ? undefined : (JSON.parse(json) as MemberState);
  }
}
