import type { Source } from '../dot.ts';
import type { Commit } from '../events.ts';
import { moveHead } from '../fold.ts';
import type { NamespaceReport } from '../replica.ts';

/**
 * The vector as it is on disk for certain: the only one that peers may be told. Under `durability = "wal"` it trails the
 * one that readers see, and a crash may take back what lies between.
 */
export class DurableHeads {
  readonly #byNamespace = new Map<string, Map<Source, number>>();
  #waiting: Commit[] = [];

  /** @param reports as recovered at start, when all that is known is on disk */
  constructor(reports: readonly Pick<NamespaceReport, 'name' | 'heads'>[]) {
    for (const { name, heads } of reports) this.#byNamespace.set(name, new Map(heads));
  }

  get(namespace: string): ReadonlyMap<Source, number> {
    return this.#byNamespace.get(namespace) ?? none;
  }

  names(): readonly string[] {
    return [...this.#byNamespace.keys()];
  }

  /** Commits that readers see. */
  applied(commits: readonly Commit[]): void {
    this.#waiting.push(...commits);
  }

  /** Everything up to this commit is on disk. @returns the commits that became durable, in order */
  durable(commit: number): readonly Commit[] {
    let count = 0;
    while (count < this.#waiting.length && this.#waiting[count]!.number <= commit) count++;
    const done = this.#waiting.slice(0, count);
    this.#waiting = this.#waiting.slice(count);
    for (const { record } of done) this.#set(record.namespace, record.source, record.seq);
    return done;
  }

  /** States came in that reach up to these heads, durably. */
  advanced(namespace: string, heads: Iterable<{ readonly source: Source; readonly seq: number }>): void {
    this.#namespace(namespace);
    for (const { source, seq } of heads) this.#set(namespace, source, seq);
  }

  #set(namespace: string, source: Source, seq: number): void {
    moveHead(this.#namespace(namespace), source, seq);
  }

  #namespace(name: string): Map<Source, number> {
    let heads = this.#byNamespace.get(name);
    if (heads === undefined) this.#byNamespace.set(name, (heads = new Map()));
    return heads;
  }
}

const none: ReadonlyMap<Source, number> = new Map();
