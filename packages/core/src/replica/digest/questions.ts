import type { Heads } from '../exchange/vectors.ts';
import { type Cuts, laterCuts } from './cuts.ts';
import type { Digests } from './digests.ts';
import { branchCount } from './tree.ts';

/** What one instance asks another about its digests. The asker's cuts go along: only what neither has purged counts. */
export type DigestQuestion =
  | { readonly kind: 'roots'; readonly cuts: Cuts; readonly namespaces: readonly string[] }
  | { readonly kind: 'branches'; readonly cuts: Cuts; readonly namespace: string }
  | {
      readonly kind: 'leaves';
      readonly cuts: Cuts;
      readonly namespace: string;
      /** 0 to 255, each once. */
      readonly branches: readonly number[];
    };

/** The answer, as of one moment, above `cuts`: the later ones of both sides. */
export type DigestAnswer =
  | {
      readonly kind: 'roots';
      readonly cuts: Cuts;
      /** Those asked for that can be compared here. */
      readonly namespaces: ReadonlyMap<string, RootAnswer>;
    }
  | { readonly kind: 'branches' | 'leaves'; readonly cuts: Cuts; readonly words: Int32Array };

export interface RootAnswer {
  readonly strategy: string;
  /** What the digest is of. */
  readonly heads: Heads;
  /** 4 words. */
  readonly root: Int32Array;
}

/** An instance's digests and what they are of; all as of now, in one tick. */
export interface LocalDigests {
  readonly digests: Digests;
  /** Namespaces that something is known of: those of which only a vector came, and no fact, too. */
  names(): readonly string[];
  /** Never goes back. */
  cuts(): Cuts;
  /** By source, the record up to which all are committed. */
  headsOf(namespace: string): Heads;
  strategyOf(namespace: string): string;
  /** Whether the namespace is held whole: what is still loading differs from everyone's. */
  isWhole(namespace: string): boolean;
}

/** Answers a peer. Undefined where it asks for what cannot be compared here, or for nothing that there is. */
export function answerDigest(local: LocalDigests, question: DigestQuestion): DigestAnswer | undefined {
  const cuts = laterCuts(local.cuts(), question.cuts);
  if (question.kind === 'roots') {
    const namespaces = new Map<string, RootAnswer>();
    const known = new Set(local.names());
    for (const name of question.namespaces) {
      const view = known.has(name) && local.isWhole(name) ? local.digests.view(name, cuts) : undefined;
      if (view === undefined) continue;
      namespaces.set(name, { strategy: local.strategyOf(name), heads: new Map(local.headsOf(name)), root: view.root });
    }
    return { kind: 'roots', cuts, namespaces };
  }
  const view = local.isWhole(question.namespace) ? local.digests.view(question.namespace, cuts) : undefined;
  if (view === undefined) return undefined;
  if (question.kind === 'branches') return { kind: 'branches', cuts, words: view.branches() };
  if (question.branches.some((branch) => !(branch >= 0 && branch < branchCount))) return undefined;
  return { kind: 'leaves', cuts, words: view.leaves(question.branches) };
}
