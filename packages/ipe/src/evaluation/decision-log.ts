import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ReceiptSigner } from '@ipe/core/eval';
import { type AuditLog, type AuditReport, verifyAudit } from '../security/audit.ts';
import type { CitedRoots } from './cited-roots.ts';
import type { DecisionRecord } from './evaluator.ts';

/** Which decisions are written down: none; those that an `Audit` policy found fault with; denials besides; all. */
export const decisionLogModes = ['none', 'audits', 'denials', 'all'] as const;
export type DecisionLogMode = (typeof decisionLogModes)[number];

export interface DecisionLogOptions {
  /** Chain of lines on disk. It bounds what waits in memory, and records how many lines it had to drop. */
  readonly trail: AuditLog;
  readonly mode: DecisionLogMode;
  readonly signer: ReceiptSigner;
  /** Told of the root of each decision written down. */
  readonly cited?: Pick<CitedRoots, 'cite'>;
  /** Lines of a segment; its end is signed. Default 1,000. */
  readonly segmentLines?: number;
}

export interface DecisionLog {
  /** Writes a decision down where the mode says so. Never blocks and never throws. */
  record(decision: DecisionRecord): void;
  /** Signs what is not signed yet and writes everything out. The trail belongs to the caller. */
  close(): Promise<void>;
}

/**
 * The decision log: a line a decision, each with the receipt and the request, so that `replay` can decide it again. Lines
 * are chained by hash, and each segment of the chain is sealed by one signature, which costs a decision nothing.
 */
export function createDecisionLog({
  trail,
  mode,
  signer,
  cited,
  segmentLines = 1_000,
}: DecisionLogOptions): DecisionLog {
  let unsigned = 0;
  const seal = (): void => {
    const { number, hash } = trail.head;
    trail.append({
      event: 'segment',
      through: number,
      hash,
      key: signer.key,
      signature: signer.sign(segmentBytes(number, hash)),
    });
    unsigned = 0;
  };
  return {
    record(decision) {
      if (!isWanted(mode, decision)) return;
      const { audits, warnings, errors } = decision.outcome;
      const receipt = decision.describe();
      const input = { ...receipt.input, value: decision.request };
      trail.append({ event: 'decision', receipt: { ...receipt, input }, audits, warnings, errors });
      cited?.cite(receipt, trail.head.number);
      if (++unsigned >= segmentLines) seal();
    },
    async close() {
      if (unsigned > 0) seal();
      await trail.flush();
    },
  };
}

function isWanted(mode: DecisionLogMode, { outcome }: DecisionRecord): boolean {
  if (mode === 'all') return true;
  if (mode === 'none') return false;
  return outcome.audits.length > 0 || (mode === 'denials' && outcome.decision === 'deny');
}

/** What a segment's signature covers: the chain up to a line, by that line's number and hash. */
function segmentBytes(number: number, hash: string): Uint8Array {
  return new TextEncoder().encode(`ipe decision log through ${number} ${hash}`);
}

export interface DecisionLogReport extends AuditReport {
  /** Lines that a good signature covers: all up to this number. */
  readonly signedThrough: number;
  /** Public keys that signed, in order of first use. */
  readonly keys: readonly string[];
}

/**
 * Follows the chain of a decision log and checks the signature of every segment.
 *
 * @param verify whether `signature` over `bytes` is that of the public key `key`
 * @throws IpeError `not_found` where there is no log in the folder
 */
export async function verifyDecisionLog(
  directory: string,
  verify: (key: string, bytes: Uint8Array, signature: string) => boolean,
): Promise<DecisionLogReport> {
  const report = await verifyAudit(directory);
  const problems = [...report.problems];
  const keys: string[] = [];
  let signedThrough = 0;
  for (const file of (await readdir(directory)).filter((name) => name.endsWith('.ndjson')).sort()) {
    const rows = (await readFile(join(directory, file), 'utf8')).split('\n');
    for (const [i, row] of rows.entries()) {
      const segment = segmentOf(row);
      if (segment === undefined) continue;
      const { through, hash, key, signature, previous } = segment;
      if (hash !== previous || !verify(key, segmentBytes(through, hash), signature))
        problems.push({ file, line: i + 1, message: `the signature of the lines up to ${through} does not hold` });
      else signedThrough = through;
      if (!keys.includes(key)) keys.push(key);
    }
  }
  return { ...report, problems, signedThrough, keys };
}

interface Segment {
  readonly through: number;
  readonly hash: string;
  readonly key: string;
  readonly signature: string;
  readonly previous: string;
}

function segmentOf(row: string): Segment | undefined {
  if (!row.includes('"segment"')) return undefined;
  try {
    const line = JSON.parse(row) as Partial<Segment> & { event?: unknown };
    return line.event === 'segment' && typeof line.key === 'string' && typeof line.signature === 'string'
      ? (line as Segment)
      : undefined;
  } catch {
    return undefined;
  }
}
