import { join } from 'node:path';
import type { ReceiptSigner } from '@ipe/core/eval';
import { type CitedRoots, createDecisionLog, type DecisionLog, openCitedRoots } from '../evaluation/index.ts';
import { fileState } from '../gitops/mirrors.ts';
import { auditLinesAfter, openAuditLog } from '../security/audit.ts';
import type { PartsContext } from './start.ts';

export interface DecisionLogPart {
  readonly log: DecisionLog;
  /** Roots that the log names: asked by collection. */
  readonly cited: CitedRoots;
  /** Signs receipts, and the segments of the log. */
  readonly signer: ReceiptSigner;
}

/** The decision log beside the audit trail, in a folder of its own, and the roots that it cites. */
export async function openDecisionLogPart(context: PartsContext): Promise<DecisionLogPart> {
  const { config, identity, layout, log, onClose } = context;
  const plane = config.evaluation_plane;
  const directory = join(layout.audit, 'decisions');
  const trail = await openAuditLog({
    directory,
    maxBytes: plane.decision_log_max_bytes,
    keep: plane.decision_log_keep,
    now: () => Date.now(),
    onError: (error) => log.error({ err: error }, 'the decision log cannot be written'),
  });
  onClose('decision log file', () => trail.close());
  const cited = await openCitedRoots({
    state: fileState(join(layout.root, 'cited-roots.json')),
    linesAfter: (line) => auditLinesAfter(directory, line),
    retentionMs: config.storage.retention,
    clock: () => Date.now(),
    onError: (error) => log.error({ err: error }, 'the roots that decisions cite cannot be saved'),
  });
  onClose('cited roots', () => cited.close());
  const signer = { key: identity.signing.publicKey, sign: (bytes: Uint8Array) => identity.signing.sign(bytes) };
  const decisions = createDecisionLog({ trail, mode: plane.decision_log, signer, cited });
  onClose('decision log', () => decisions.close());
  return { log: decisions, cited, signer };
}
