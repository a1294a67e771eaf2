import { IpeError } from '@ipe/core';
import { type LogRecord, namespaceOf, type ParkedWrite, parkedKey, parkedPrefix, type Write } from '@ipe/core/replica';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { type Engine, readPattern, scan, supersededWrites } from '../data/index.ts';
import { idOf, type QuarantineKeeper } from '../replication/quarantine.ts';

const limitDefault = 100;
const limitMax = 1_000;

/**
 * The methods about writes that wait for an operator: parked ones of returned members, records held back because their
 * time lies far ahead, and, to look at, conditional writes that lost a merge.
 * @param quarantine absent on a node on its own, where nothing is ever held back
 */
export function conflictHandlers(engine: Engine, quarantine: QuarantineKeeper | undefined): Handlers {
  const listedParked = async (isVisible: (namespace: string) => boolean, limit: number) => {
    const parked = [];
    for await (const { cell } of scan(engine, readPattern(`${parkedPrefix}*`))) {
      if (parked.length === limit) break;
      const write = cell.seenAt(engine.readMs()) === undefined ? undefined : (cell.value as ParkedWrite);
      if (write !== undefined && isVisible(namespaceOf(write.key))) parked.push(parkedView(write));
    }
    return parked;
  };
  const findParked = async (id: string): Promise<ParkedWrite | undefined> => {
    const cell = await engine.get(parkedKey(id));
    return cell.seenAt(engine.readMs()) === undefined ? undefined : (cell.value as ParkedWrite);
  };
  const unknown = (id: string) =>
    new IpeError('not_found', `no write \`${id}\` is parked or held back; list them with \`ipe data conflicts\``);
  return {
    conflicts: async (params) => {
      const fields = readParams(params, ['namespace', 'limit']);
      const namespace = fields.optionalString('namespace');
      const limit = fields.optionalNumber('limit') ?? limitDefault;
      if (!Number.isInteger(limit) || limit < 1 || limit > limitMax)
        throw new IpeError('invalid_params', `\`limit\` must be a whole number from 1 to ${limitMax}`);
      const isVisible = (name: string) => namespace === undefined || name === namespace;
      const held = ((await quarantine?.list(limitMax)) ?? []).filter((record) => isVisible(record.namespace));
      const { writes } = await supersededWrites(engine, { limit, isVisible });
      return {
        parked: await listedParked(isVisible, limit),
        held: held.slice(0, limit).map(heldView),
        superseded: writes,
      };
    },
    'conflict-release': async (params, { caller }) => {
      const id = readParams(params, ['id']).string('id');
      const parked = await findParked(id);
      if (parked !== undefined) {
        await submit(engine, writeOf(parked, engine.readMs()));
        await engine.delete(parkedKey(id));
      } else if (quarantine !== undefined) await quarantine.release(id, caller.tokenId);
      else throw unknown(id);
      return { id, released: true };
    },
    'conflict-discard': async (params, { caller }) => {
      const id = readParams(params, ['id']).string('id');
      if ((await findParked(id)) !== undefined) await engine.delete(parkedKey(id));
      else if (quarantine !== undefined) await quarantine.reject(id, caller.tokenId);
      else throw unknown(id);
      return { id, discarded: true };
    },
  };
}

function parkedView({ id, key, op, writtenMs, json, base64, amount, members }: ParkedWrite) {
  return {
    id,
    key,
    op,
    written_at: writtenMs / 1_000,
    ...(json !== undefined && { value: JSON.parse(json) as unknown }),
    ...(base64 !== undefined && { value_base64: base64 }),
    ...(amount !== undefined && { amount }),
    ...(members !== undefined && { members: members.map((member) => JSON.parse(member) as unknown) }),
  };
}

function heldView(record: LogRecord) {
  return {
    id: idOf(record),
    origin: record.source.origin,
    due_at: record.ms / 1_000,
    keys: record.operations.map(({ key }) => key),
  };
}

/** The write that a parked one amounts to now: an operator wants it, so its time is now. */
function writeOf(parked: ParkedWrite, nowMs: number): Write {
  const { key, op } = parked;
  const target = { namespace: namespaceOf(key), key };
  if (op === 'add') return { op, ...target, amount: parked.amount ?? 0, windowMs: parked.windowMs };
  if (op === 'set-add') return { op, ...target, members: parked.members ?? [] };
  if (parked.expiresMs !== 0 && parked.expiresMs <= nowMs)
    throw new IpeError('conflict', `what was written to \`${key}\` has expired meanwhile; discard it`);
  const bytes = parked.base64 === undefined ? undefined : new Uint8Array(Buffer.from(parked.base64, 'base64'));
  const ttlMs = parked.expiresMs === 0 ? undefined : parked.expiresMs - nowMs;
  return { op, ...target, json: parked.json, bytes, ttlMs };
}

async function submit(engine: Engine, write: Write): Promise<void> {
  const outcome = await engine.submit({ writes: [write], atomic: false, sizeBytes: 256 });
  const refused = outcome.ok ? outcome.results.find((result) => !result.ok) : undefined;
  const failure = outcome.ok ? refused : outcome.failure;
  if (failure !== undefined && !('ok' in failure && failure.ok))
    throw new IpeError(failure.reason, failure.message, failure.details && { details: failure.details });
}
