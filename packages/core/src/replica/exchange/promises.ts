import type { Source } from '../dot.ts';
import { reaches } from '../fold.ts';
import { isOfInterest, type NamespaceVector, type VectorReport } from './report.ts';
import { covers, type Heads } from './vectors.ts';

interface Promised {
  /** By namespace: the most that the peer has said to hold whole. */
  readonly heads: Map<string, Heads>;
  /** What it has reported last. */
  report: VectorReport | undefined;
  /** Namespaces that it held whole when it answered after the start: it has said then if it knew more of them. */
  readonly answered: Set<string>;
}

/**
 * Finds out that a store is an old copy (docs/replication.md, "Not there yet"): peers remember what an instance has said
 * to hold whole, and tell it once it says less. It may have caught up by then, its first reports lost, and would still
 * lack what was deleted and forgotten meanwhile. So it tells each peer what it held when it started, and judges by that,
 * until the peer has answered.
 */
export class Promises {
  readonly #peers = new Map<string, Promised>();
  /** By namespace: what was held here at the start; undefined where that was not whole, or is known to be an old copy. */
  readonly #started = new Map<string, Heads | undefined>();

  /** The own vector moved. The first one of a namespace is that of the start. */
  moved(namespace: string, { isWhole, heads }: NamespaceVector): void {
    if (!this.#started.has(namespace) || !isWhole) this.#started.set(namespace, isWhole ? heads : undefined);
  }

  /** A peer is no member any more. */
  forget(peer: string): void {
    this.#peers.delete(peer);
  }

  /** @returns namespaces of which the peer was told more than is, or was at the start, held here */
  reported(report: VectorReport, isAnswer: boolean, own: ReadonlyMap<string, NamespaceVector>): readonly string[] {
    const peer = this.#peer(report.origin);
    const { heads, answered } = peer;
    peer.report = report;
    for (const [namespace, { isWhole }] of report.namespaces) {
      const promised = heads.get(namespace);
      const told = toldOf(report, namespace);
      // One that is loading promises nothing. One that goes back behind its word is told so, until it says that it loads.
      if (!isWhole) heads.delete(namespace);
      else if (promised === undefined || covers(told, promised)) heads.set(namespace, told);
    }
    if (!report.isSettled)
      for (const namespace of heads.keys()) if (!report.namespaces.has(namespace)) heads.delete(namespace);
    const goneBack = [...(report.promised ?? [])].flatMap(([namespace, promised]) => {
      const held = own.get(namespace)?.heads;
      const judged = answered.has(namespace) ? held : (this.#started.get(namespace) ?? held);
      return judged === undefined || covers(judged, promised) ? [] : [namespace];
    });
    if (isAnswer) for (const [namespace, { isWhole }] of report.namespaces) if (isWhole) answered.add(namespace);
    return goneBack;
  }

  /** By namespace, what was held here at the start, as far as a peer may still know of more. */
  startedFor(peer: string): Map<string, Heads> {
    const { answered, report } = this.#peer(peer);
    const started = new Map<string, Heads>();
    for (const [namespace, heads] of this.#started) {
      const isOver = answered.has(namespace) || (report !== undefined && !isOfInterest(report.interest, namespace));
      if (heads !== undefined && !isOver) started.set(namespace, heads);
    }
    return started;
  }

  /**
   * By namespace, what a peer has said to hold whole and, by its last report, does not hold any more, or did not when it
   * started: its answer is to tell it. Only of namespaces that are whole here, from where it can load them again, and of
   * what is held here: nothing else can have been forgotten here, and what all have lost it could never load.
   */
  brokenBy(peer: string, own: ReadonlyMap<string, NamespaceVector>): Map<string, Heads> {
    const broken = new Map<string, Heads>();
    const { heads, report } = this.#peer(peer);
    for (const [namespace, promised] of heads) {
      const held = own.get(namespace);
      if (held?.isWhole !== true || report === undefined) continue;
      const told = toldOf(report, namespace);
      const missing = new Map<Source, number>();
      for (const [source, seq] of promised) {
        const known = reaches(held.heads, source, seq) ? seq : (held.heads.get(source) ?? 0);
        if (!reaches(told, source, known)) missing.set(source, known);
      }
      if (missing.size > 0) broken.set(namespace, missing);
    }
    return broken;
  }

  #peer(origin: string): Promised {
    let peer = this.#peers.get(origin);
    if (peer === undefined) {
      peer = { heads: new Map(), report: undefined, answered: new Set() };
      this.#peers.set(origin, peer);
    }
    return peer;
  }
}

/** What a report has its sender answer for. */
function toldOf({ namespaces, started }: VectorReport, namespace: string): Heads {
  return started?.get(namespace) ?? namespaces.get(namespace)?.heads ?? nothing;
}

const nothing: Heads = new Map();
