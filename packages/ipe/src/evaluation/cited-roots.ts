import { isObjectId } from '@ipe/core/git';
import type { AuditLine } from '../security/audit.ts';

/** Where a decision was made. */
export interface Citation {
  /** Content root. */
  readonly root: string;
  /** Root commit; null for the empty store. */
  readonly commit: string | null;
}

/**
 * Roots that logged decisions name, so that collection keeps what a replay needs: one entry a root, however many
 * decisions it made.
 */
export interface CitedRoots {
  /** Notes the decision on line `line` of the log. Never blocks and never throws. */
  cite(citation: Citation, line: number): void;
  /** Where decisions were made that were logged at or after `sinceMs` (Unix milliseconds). */
  since(sinceMs: number): readonly Citation[];
  /** Writes down what is not yet. */
  close(): Promise<void>;
}

export interface CitedRootsOptions {
  /** Holds the roots between starts. What it lacks, or all of it, is found again in the log. */
  readonly state: { load(): Promise<string | undefined>; save(text: string): Promise<void> };
  /** Lines of the decision log after the line of that number, oldest first. */
  readonly linesAfter: (line: number) => AsyncIterable<AuditLine>;
  /** Roots that no decision has named for longer are forgotten. */
  readonly retentionMs: number;
  /** Unix milliseconds. */
  readonly clock: () => number;
  /** Told when the state could not be saved; it is tried again with the next root, and the log has it all the same. */
  readonly onError: (error: unknown) => void;
  /** Lines logged at one root before the state is saved again: as many are read at most at the next start. Default 10,000. */
  readonly linesUnsavedMax?: number;
}

interface Cited {
  readonly root: string;
  readonly commit: string | null;
  /** When a decision last named it, Unix milliseconds. */
  lastMs: number;
}

/**
 * Opens the roots cited by a decision log: those saved, and those of the lines written since, which a crash leaves behind.
 */
export async function openCitedRoots(options: CitedRootsOptions): Promise<CitedRoots> {
  const { state, clock, retentionMs, onError, linesUnsavedMax = 10_000 } = options;
  const saved = readState(await state.load());
  const cited = new Map(saved.roots.map((each) => [keyOf(each), each]));
  let line = saved.line;
  let savedLine = line;
  let saving: Promise<void> | undefined;
  let again = false;

  const note = ({ root, commit }: Citation, timeMs: number): boolean => {
    const known = cited.get(keyOf({ root, commit }));
    if (known === undefined) cited.set(keyOf({ root, commit }), { root, commit, lastMs: timeMs });
    else known.lastMs = Math.max(known.lastMs, timeMs);
    return known === undefined;
  };
  const forget = (): void => {
    const oldestMs = clock() - retentionMs;
    for (const [key, { lastMs }] of cited) if (lastMs < oldestMs) cited.delete(key);
  };
  const write = async (): Promise<void> => {
    do {
      again = false;
      forget();
      const through = line;
      const roots = [...cited.values()].map(({ root, commit, lastMs }) => [root, commit, lastMs]);
      await state.save(`${JSON.stringify({ version: 1, line: through, roots })}\n`);
      savedLine = through;
    } while (again);
  };
  const save = (): Promise<void> => {
    again = saving !== undefined;
    saving ??= write()
      .catch(onError)
      .finally(() => {
        saving = undefined;
      });
    return saving;
  };

  for await (const found of options.linesAfter(line)) {
    line = found.n;
    const citation = citationOf(found);
    if (citation !== undefined) note(citation, Date.parse(found.time) || clock());
  }
  if (line !== savedLine) await save();

  return {
    cite(citation, at) {
      line = at;
      if (note(citation, clock()) || line - savedLine >= linesUnsavedMax) void save();
    },
    since: (sinceMs) => [...cited.values()].filter(({ lastMs }) => lastMs >= sinceMs),
    async close() {
      await saving;
      if (line !== savedLine) await save();
    },
  };
}

const keyOf = ({ root, commit }: Citation) => commit ?? root;

/** The state saved; nothing where there is none or it is damaged: then the whole log is read. */
function readState(text: string | undefined): { readonly line: number; readonly roots: readonly Cited[] } {
  try {
    const { version, line, roots } = JSON.parse(text ?? '') as { version: number; line: number; roots: unknown[][] };
    const read = roots.map(([root, commit, lastMs]) => ({ root, commit, lastMs }) as Cited);
    const whole = read.every((each) => isCitation(each) && Number.isFinite(each.lastMs));
    if (version === 1 && Number.isSafeInteger(line) && whole) return { line, roots: read };
  } catch {
    // Everything in it can be had from the log.
  }
  return { line: 0, roots: [] };
}

function citationOf(line: AuditLine): Citation | undefined {
  const receipt = line['event'] === 'decision' ? line['receipt'] : undefined;
  if (typeof receipt !== 'object' || receipt === null) return undefined;
  const { root, commit } = receipt as Record<string, unknown>;
  const citation = { root, commit };
  return isCitation(citation) ? citation : undefined;
}

function isCitation(value: { root: unknown; commit: unknown }): value is Citation {
  const isId = (id: unknown) => typeof id === 'string' && isObjectId(id);
  return isId(value.root) && (value.commit === null || isId(value.commit));
}
