import type { Reason } from '../errors.ts';
import type { Cell } from './cell.ts';
import { dotWord, type Source } from './dot.ts';
import { foldContext, windowEndMs } from './join.ts';
import type { MemberChange, Operation } from './record.ts';
import { versionOf } from './resolve.ts';
import type { Context, Counter, Head, KeyState, Members, Strategy } from './state.ts';
import type { AddWrite, DeleteWrite, MembersWrite, PutWrite, Write, WriteRefused } from './write.ts';

/** Members that a set may hold, removed ones that are still remembered included. */
export const membersMax = 10_000;
/** Bytes of a value, JSON text or raw. */
export const valueBytesMax = 1024 * 1024;

/** Where and when a write would be made. */
export interface Site {
  readonly strategy: Strategy;
  /** Highest version purged from the namespace. */
  readonly floor: number;
  /** Folded entries of the namespace's vector: contexts name what they stand for by them. */
  readonly folds: readonly Head[];
  readonly source: Source;
  /**
   * What a write to a key (or a member of a set) without a state may claim to have seen: everything that was applied
   * here, since whatever of it concerned the key has been purged. Without it, an instance that has not purged yet would
   * take the write for concurrent with a tombstone that it comes after.
   */
  readonly seen: () => Context;
  /** The readers' clock: decides what is expired, and so what conditions see. */
  readonly nowMs: number;
  /** Hybrid milliseconds of the record that the write would join. */
  readonly ms: number;
}

/**
 * Judges one write against what the key holds, pending writes included.
 * @returns the operation to log, or why the write is refused. Changes nothing.
 */
export function admit(write: Write, cell: Cell, site: Site): Operation | WriteRefused {
  switch (write.op) {
    case 'put':
      return admitPut(write, cell, site);
    case 'delete':
      return admitDelete(write, cell, site);
    case 'add':
      return admitAdd(write, cell, site);
    default:
      return admitMembers(write, cell, site);
  }
}

export function isRefused(answer: Operation | WriteRefused): answer is WriteRefused {
  return 'ok' in answer;
}

function admitPut(write: PutWrite, cell: Cell, site: Site): Operation | WriteRefused {
  const { strategy } = site;
  if (strategy.kind === 'counter')
    return refuse(write, 'invalid_params', `\`${write.namespace}\` holds counters: use \`add\``);
  if (strategy.kind === 'set')
    return refuse(write, 'invalid_params', `\`${write.namespace}\` holds sets: use \`set-add\` and \`set-remove\``);
  const conflict = checkConditions(write, cell, site);
  if (conflict !== undefined) return conflict;
  const { key, json, bytes, ttlMs } = write;
  return {
    op: 'put',
    key,
    version: nextVersion(cell, site),
    createdMs: cell.seenAt(site.nowMs)?.createdMs ?? site.ms,
    expiresMs: ttlMs === undefined ? 0 : Math.max(site.nowMs, site.ms) + ttlMs,
    json,
    bytes: json === undefined ? bytes : undefined,
    context: contextOf(cell.state, site),
    over: overOf(cell.state),
    isConditional: isConditional(write),
  };
}

function admitDelete(write: DeleteWrite, cell: Cell, site: Site): Operation | WriteRefused {
  const conflict = checkConditions(write, cell, site);
  if (conflict !== undefined) return conflict;
  const { key } = write;
  const version = nextVersion(cell, site);
  if (site.strategy.kind === 'counter') return { op: 'reset', key, version };
  const createdMs = cell.seenAt(site.nowMs)?.createdMs ?? site.ms;
  if (site.strategy.kind !== 'set')
    return {
      op: 'delete',
      key,
      version,
      createdMs,
      context: contextOf(cell.state, site),
      over: overOf(cell.state),
      isConditional: isConditional(write),
    };
  const state = cell.state as Members | undefined;
  const changes = (state?.members ?? [])
    .filter(({ live }) => live.some((mark) => mark.present))
    .map(({ member, context }): MemberChange => ({ member, present: false, context }));
  return { op: 'members', key, version, createdMs, changes };
}

function admitAdd(write: AddWrite, cell: Cell, site: Site): Operation | WriteRefused {
  if (site.strategy.kind !== 'counter')
    return refuse(
      write,
      'invalid_params',
      `\`${write.namespace}\` does not hold counters: set \`conflict_strategy\` for it`,
    );
  const state = cell.state as Counter | undefined;
  const nowMs = Math.max(site.nowMs, site.ms);
  const windowMs = write.windowMs ?? 0;
  let windowStartMs = windowMs === 0 ? 0 : Math.floor(nowMs / windowMs) * windowMs;
  if (state !== undefined && state.totals.length > 0 && windowEndMs(state) > nowMs) {
    if (state.windowMs !== windowMs)
      return refuse(
        write,
        'invalid_params',
        `\`${write.key}\` counts ${state.windowMs === 0 ? 'without windows' : `in windows of ${state.windowMs / 1000} s`}; let it end, or delete it first`,
        { field: 'window' },
      );
    // Another instance's clock may have opened the next window already: adding to the one before would be lost.
    windowStartMs = Math.max(windowStartMs, state.windowStartMs);
  }
  const isSame = state !== undefined && state.windowMs === windowMs && state.windowStartMs === windowStartMs;
  const mine = isSame ? state.totals.find(({ source }) => source === site.source) : undefined;
  const plus = (mine?.plus ?? 0) + Math.max(write.amount, 0);
  const minus = (mine?.minus ?? 0) + Math.max(-write.amount, 0);
  if (!Number.isSafeInteger(plus) || !Number.isSafeInteger(minus))
    return refuse(write, 'invalid_params', `\`${write.key}\` would exceed what can be counted exactly`, {
      field: 'amount',
    });
  return {
    op: 'add',
    key: write.key,
    version: nextVersion(cell, site),
    createdMs: (isSame ? cell.seenAt(site.nowMs)?.createdMs : undefined) ?? site.ms,
    reset: state?.reset,
    windowStartMs,
    windowMs,
    plus,
    minus,
  };
}

function admitMembers(write: MembersWrite, cell: Cell, site: Site): Operation | WriteRefused {
  if (site.strategy.kind !== 'set')
    return refuse(
      write,
      'invalid_params',
      `\`${write.namespace}\` does not hold sets: set \`conflict_strategy\` for it`,
    );
  const state = cell.state as Members | undefined;
  const contexts = new Map<string, Context>();
  let sizeBytes = 0;
  for (const { member, context } of state?.members ?? []) {
    contexts.set(member, context);
    sizeBytes += member.length + 1;
  }
  const present = write.op === 'set-add';
  const changes = [...new Set(write.members)].sort().map((member): MemberChange => {
    const context = contexts.get(member);
    if (context === undefined) sizeBytes += member.length + 1;
    return { member, present, context: context === undefined ? site.seen() : foldContext(context, site.folds) };
  });
  const count = contexts.size + changes.filter(({ member }) => !contexts.has(member)).length;
  if (count > membersMax || sizeBytes > valueBytesMax)
    return refuse(write, 'too_large', `\`${write.key}\` would hold more than ${membersMax} members or 1 MiB`, {
      field: 'members',
      max_items: membersMax,
    });
  const createdMs = cell.seenAt(site.nowMs)?.createdMs ?? site.ms;
  return { op: 'members', key: write.key, version: nextVersion(cell, site), createdMs, changes };
}

function checkConditions(write: PutWrite | DeleteWrite, cell: Cell, site: Site): WriteRefused | undefined {
  const { ifVersion, ifMatch, key } = write;
  const seen = cell.seenAt(site.nowMs);
  if (ifVersion !== undefined && ifVersion !== (seen?.version ?? 0)) {
    const found = seen === undefined ? 'does not exist' : `is at version ${seen.version}`;
    const wanted = ifVersion === 0 ? 'it to be absent' : `version ${ifVersion}`;
    return { ...refuse(write, 'conflict', `\`${key}\` ${found}; the write asked for ${wanted}`), current: cell };
  }
  if (ifMatch !== undefined && (seen === undefined || (ifMatch !== '*' && ifMatch !== cell.etag))) {
    const found = seen === undefined ? 'does not exist' : `has etag ${cell.etag}`;
    return { ...refuse(write, 'conflict', `\`${key}\` ${found}; the write asked for ${ifMatch}`), current: cell };
  }
  if (seen?.kind === 'siblings' && ifMatch === undefined)
    return {
      ...refuse(
        write,
        'conflict',
        `\`${key}\` holds ${seen.siblings.length} values written side by side; read them and write with \`if_match\``,
      ),
      current: cell,
    };
  return undefined;
}

function nextVersion(cell: Cell, site: Site): number {
  return 1 + (cell.state === undefined ? site.floor : versionOf(cell.state));
}

function contextOf(state: KeyState | undefined, site: Site): Context | undefined {
  if (site.strategy.kind !== 'version-vector') return undefined;
  return state?.kind === 'siblings' ? foldContext(state.context, site.folds) : site.seen();
}

/** Names the one write that this one is put over, where contexts do not tell. */
function overOf(state: KeyState | undefined): number | undefined {
  return state?.kind === 'version' ? dotWord(state) : undefined;
}

function isConditional({ ifVersion, ifMatch }: PutWrite | DeleteWrite): boolean {
  return ifVersion !== undefined || ifMatch !== undefined;
}

function refuse(
  write: Write,
  reason: Reason,
  message: string,
  details: Readonly<Record<string, unknown>> = {},
): WriteRefused {
  return { ok: false, key: write.key, reason, message, details: { key: write.key, ...details } };
}
