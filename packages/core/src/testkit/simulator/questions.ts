import type { MemberState } from '../../replica/index.ts';
import type { Membership } from './membership.ts';
import type { Endpoint, Network } from './network.ts';
import type { Random } from './random.ts';
import type { LogQuestion, RepairQuestion } from './state-repair.ts';

/** What peers ask each other: the report's text, a slice of the log, a page of states, and what repairs need. */
export type Question =
  | { readonly type: 'report'; readonly report: string }
  | LogQuestion
  | { readonly type: 'snapshot'; readonly namespace: string; readonly after: string | undefined }
  | RepairQuestion;

/** Goes with every question. */
interface Since {
  /**
   * The asker's own record as it knew it. Links end with the process: what a member had sent before it was evicted does not
   * arrive once it is back, however late it is.
   */
  readonly since: number;
}

/** What one that is no member any more is answered: how it stands. */
interface Standing {
  readonly standing: MemberState | undefined;
}

/** What asking needs of the instance. All of it is of one life. */
export interface QuestionsParts {
  readonly self: Endpoint;
  readonly origin: string;
  readonly network: Network;
  readonly random: Random;
  readonly membership: Membership;
  readonly originOf: (member: number) => string;
  readonly timeoutMs: number;
  readonly isAlive: () => boolean;
  readonly later: (delayMs: number, run: () => void) => void;
}

/** Questions between members: nothing is told to, or taken from, one that is not. */
export class Questions {
  readonly #parts: QuestionsParts;

  constructor(parts: QuestionsParts) {
    this.#parts = parts;
  }

  /** Asks one of the processes that run as a member; calls back once, with undefined where no answer comes. */
  ask(peer: string, question: Question, done: (answer: unknown) => void): void {
    const { self, origin, network, random, originOf, membership, timeoutMs, isAlive, later } = this.#parts;
    const found = network.others(self).filter((other) => other.isUp && originOf(other.member) === peer);
    const since = sequenceOf(membership, origin);
    const theirs = sequenceOf(membership, peer);
    const end = (answer: unknown) => {
      if (isAlive() && self.isUp) done(answer);
    };
    if (found.length === 0) later(0, () => done(undefined));
    else
      network.ask(self, random.pick(found), { ...question, since } satisfies Question & Since, timeoutMs, (answer) => {
        const isStanding = typeof answer === 'object' && answer !== null && 'standing' in answer;
        // Of one that is no member any more nothing is taken.
        if (!isStanding) end(membership.isActive(peer) && sequenceOf(membership, peer) === theirs ? answer : undefined);
        else {
          const { standing } = answer as Standing;
          end(undefined);
          if (isAlive() && standing !== undefined) membership.put(standing);
        }
      });
  }

  /** The answer to a question: `reply`'s to a member's, how it stands to one that is none, none to one that comes late. */
  answer(from: Endpoint, asked: unknown, reply: (question: Question) => unknown): unknown {
    const question = asked as Question & Since;
    const { membership, originOf } = this.#parts;
    const asking = originOf(from.member);
    if (!membership.isActive(asking)) return { standing: membership.of(asking) } satisfies Standing;
    return question.since < sequenceOf(membership, asking) ? undefined : reply(question);
  }
}

const sequenceOf = (membership: Membership, origin: string) => membership.of(origin)?.sequence ?? 0;
