import { decodeReport, type Sources, type VectorReport } from '../../replica/index.ts';

/** Where a report's text has the origin. */
export const originPlace = [11, 27] as const;

/** Reports as texts: they repeat for most of the time, and are written and read again only when they have changed. */
export class Reports {
  readonly #sources: Sources;
  /** As they were last read, by peer. */
  readonly #read = new Map<string, { readonly text: string; readonly report: VectorReport }>();
  #own: string | undefined;

  constructor(sources: Sources) {
    this.#sources = sources;
  }

  /** What this instance would report is not what it was. */
  moved(): void {
    this.#own = undefined;
  }

  own(encode: () => string): string {
    this.#own ??= encode();
    return this.#own;
  }

  read(text: string): VectorReport {
    const origin = text.slice(...originPlace);
    const known = this.#read.get(origin);
    if (known?.text === text) return known.report;
    const report = decodeReport(text, this.#sources);
    this.#read.set(origin, { text, report });
    return report;
  }
}
