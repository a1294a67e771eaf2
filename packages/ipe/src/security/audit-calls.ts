import type { CallReport } from '../api/dispatch.ts';
import type { AuditLog } from './audit.ts';

/** Parameters that say what was touched; values and sources are left out, tokens never reach the log. */
const told = [
  'path',
  'key',
  'pattern',
  'prefix',
  'repository',
  'branch',
  'directory',
  'root',
  'from',
  'to',
  'ref',
  'commit',
  'id',
  'kind',
  'name',
  'namespaces',
  'verbs',
  'message',
  'dry_run',
  'force',
  'member',
] as const;

/**
 * Writes calls to the audit log: every control operation that changes something or was refused, and of the writes of
 * the data plane a share of `sample`.
 */
export function auditCalls(audit: AuditLog, sample: number, random: () => number): (report: CallReport) => void {
  return (report) => {
    const { plane, method, row, context, failure } = report;
    const always = row.verb === 'admin' || (plane === 'control' && failure === 'forbidden');
    const sampled = plane === 'data' && row.verb === 'write' && sample > 0 && random() < sample;
    if (!always && !sampled) return;
    audit.append({
      event: 'call',
      plane,
      method,
      by: context.caller.name,
      kind: context.caller.kind,
      token: context.caller.tokenId,
      ...(context.requestId === undefined ? {} : { request: context.requestId }),
      ...(sampled ? { sample } : {}),
      params: about(report.params),
      outcome: failure ?? 'ok',
    });
  };
}

function about(params: unknown): Record<string, unknown> {
  if (typeof params !== 'object' || params === null || Array.isArray(params)) return {};
  const given = params as Record<string, unknown>;
  const kept: Record<string, unknown> = {};
  for (const name of told) {
    const value = given[name];
    if (value !== undefined && JSON.stringify(value).length <= 1024) kept[name] = value;
  }
  const changes = given['changes'] ?? given['entries'] ?? given['operations'];
  if (Array.isArray(changes)) {
    kept['count'] = changes.length;
    kept['first'] = changes
      .slice(0, 20)
      .map(
        (change) =>
          (change as { path?: unknown; key?: unknown } | null)?.path ?? (change as { key?: unknown } | null)?.key,
      );
  }
  return kept;
}
