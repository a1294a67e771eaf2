import { IpeError } from '../../errors.ts';
import type { Sources } from '../dot.ts';
import type { Heads } from './vectors.ts';

/** What one instance tells another of the namespaces it holds: only what is durable there, never more. */
export interface VectorReport {
  /** The reporting instance: 16 hexadecimal digits. */
  readonly origin: string;
  readonly namespaces: ReadonlyMap<string, NamespaceVector>;
}

export interface NamespaceVector {
  /** `strategyText`: instances that settle conflicts differently must not exchange the namespace. */
  readonly strategy: string;
  /** False while the instance is still loading the namespace: its vector then proves nothing about what it lacks. */
  readonly isWhole: boolean;
  readonly heads: Heads;
}

type ReportJson = { origin: string; namespaces: Record<string, [string, 0 | 1, Record<string, number>]> };

/** JSON text of a report. */
export function encodeReport(report: VectorReport): string {
  const namespaces: ReportJson['namespaces'] = {};
  for (const [name, { strategy, isWhole, heads }] of report.namespaces) {
    const seqs: Record<string, number> = {};
    for (const [source, seq] of heads) seqs[source.id] = seq;
    namespaces[name] = [strategy, isWhole ? 1 : 0, seqs];
  }
  return JSON.stringify({ origin: report.origin, namespaces } satisfies ReportJson);
}

/** @throws IpeError `invalid_request` for anything that `encodeReport` does not write. */
export function decodeReport(text: string, sources: Sources): VectorReport {
  try {
    const { origin, namespaces } = JSON.parse(text) as ReportJson;
    if (!/^[0-9a-f]{16}$/.test(origin)) throw new Error('origin');
    const decoded = new Map<string, NamespaceVector>();
    for (const [name, [strategy, whole, seqs]] of Object.entries(namespaces)) {
      const heads = new Map();
      for (const [id, seq] of Object.entries(seqs)) {
        const source = sources.parse(id);
        if (source === undefined || !Number.isSafeInteger(seq) || seq < 0) throw new Error(`head \`${id}\``);
        heads.set(source, seq);
      }
      decoded.set(name, { strategy, isWhole: whole === 1, heads });
    }
    return { origin, namespaces: decoded };
  } catch (cause) {
    throw new IpeError('invalid_request', `a vector report cannot be read: ${(cause as Error).message}`, { cause });
  }
}
