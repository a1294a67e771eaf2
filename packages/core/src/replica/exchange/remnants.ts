import type { NamespaceVector } from './report.ts';
import { covers } from './vectors.ts';

/** What a member answered last of a namespace, and to which question: later ones have greater numbers. */
export interface Told {
  readonly vector: NamespaceVector;
  readonly question: number;
}

/**
 * What is left of namespaces that nobody holds whole any more: the last disks that did were put back from old copies, one
 * after the other. Once all members hold the same of it, nobody can bring more, and waiting would be for ever.
 *
 * Members answer at different moments: one that did not hold a namespace whole yet may have loaded it meanwhile from
 * another that went back only then. So each has to say the same again when it is asked after all had said it.
 */
export class Remnants {
  /** By namespace: the last question that was put before all that was told was alike. */
  readonly #since = new Map<string, number>();

  /**
   * Whether a namespace that is not whole here will never be so by waiting.
   * @param told by each member that takes part in the namespace; undefined: it has not answered since the start, or has
   *   nothing of the namespace yet
   * @param questions how many have been put so far
   */
  isAll(namespace: string, own: NamespaceVector, told: readonly (Told | undefined)[], questions: number): boolean {
    const isAlike = !own.isWhole && told.every((each) => each !== undefined && isSame(own, each.vector));
    const since = this.#since.get(namespace);
    if (!isAlike) this.#since.delete(namespace);
    else if (since === undefined) this.#since.set(namespace, questions);
    else return told.every((each) => each!.question > since);
    return false;
  }
}

/** Whether another member does not hold a namespace whole either, and has just what is held here. */
function isSame(own: NamespaceVector, theirs: NamespaceVector): boolean {
  if (theirs.isWhole || theirs.strategy !== own.strategy) return false;
  return covers(own.heads, theirs.heads) && covers(theirs.heads, own.heads);
}
