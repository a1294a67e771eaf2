import type { Source, Sources } from './dot.ts';
import type { Rng } from './events.ts';
import { type EpochTimes, epochAt, headOf, isOld } from './fold.ts';
import type { Namespace, Namespaces } from './namespaces.ts';

/** Who an instance writes as: a source of its own at each start, later than every one before it. */
export class OwnSources {
  readonly #origin: string;
  readonly #sources: Sources;
  readonly #times: EpochTimes;
  readonly #namespaces: Namespaces;
  /** Sources of earlier starts, as the store knew them at this one, and of this one before it went on after a failure. */
  readonly #past = new Set<Source>();
  #current: Source | undefined;
  #offers: Source | undefined;

  /** @param namespaces as recovered: their vectors name the sources of earlier starts */
  constructor(
    parts: {
      readonly origin: string;
      readonly sources: Sources;
      readonly times: EpochTimes;
      readonly namespaces: Namespaces;
    },
    nowMs: number,
    rng: Rng,
  ) {
    this.#origin = parts.origin;
    this.#sources = parts.sources;
    this.#times = parts.times;
    this.#namespaces = parts.namespaces;
    for (const { heads } of parts.namespaces)
      for (const source of heads.keys()) if (source.origin === parts.origin) this.#past.add(source);
    this.#current = this.#draw(nowMs, rng);
  }

  /** Who this instance writes as, until it starts again or goes on after a failure. */
  get current(): Source {
    return this.#current!;
  }

  /** Under which writes of earlier sources are offered again; drawn at the first offer of this start. */
  offers(nowMs: number, rng: Rng): Source {
    this.#offers ??= this.#draw(nowMs, rng);
    return this.#offers;
  }

  /**
   * The source of this start. Where a vector has it folded, its records would count as known to all: an emptied store
   * does not know what was written before, and its clock may have been ahead then. So it goes on under a later one.
   */
  for({ admitted }: Namespace, nowMs: number, rng: Rng): Source {
    if (!admitted.has(this.current) && headOf(admitted, this.current) > 0) this.renew(nowMs, rng);
    return this.current;
  }

  /** Goes on under a later source; nothing more is written under the one before. */
  renew(nowMs: number, rng: Rng): void {
    this.#past.add(this.current);
    this.#current = this.#draw(nowMs, rng);
  }

  /** Whether a source is one of this instance's earlier ones: nothing more is written under it. */
  isPast(source: Source): boolean {
    return this.#past.has(source);
  }

  /** Whether a source is an earlier one of this instance, and nothing can turn up any more that was written under it. */
  isClosed(source: Source, nowMs: number): boolean {
    return this.isPast(source) && isOld(this.current, nowMs, this.#times);
  }

  /**
   * A source under which nothing was ever written, later than every one of this instance that is known here.
   * Random bits tell two starts apart that know nothing of each other: of a copied or rolled-back store.
   */
  #draw(nowMs: number, rng: Rng): Source {
    let epoch = epochAt(nowMs, this.#times) + Math.floor(rng() * 2 ** 24);
    const known = [this.#current, this.#offers, ...[...this.#namespaces].flatMap(({ heads }) => [...heads.keys()])];
    const last = Math.max(-1, ...known.map((source) => (source?.origin === this.#origin ? source.epoch : -1)));
    if (last >= epoch) epoch = last + 1 + Math.floor(rng() * 2 ** 20);
    return this.#sources.of(this.#origin, epoch);
  }
}
