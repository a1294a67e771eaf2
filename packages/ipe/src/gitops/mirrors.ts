import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { IpeError } from '@ipe/core';

/** One Git repository mirrored into the policy tree, as remembered between starts. Times are Unix milliseconds. */
export interface MirrorRecord {
  /** From repository, directory and prefix: the same three are the same mirror. */
  readonly id: string;
  /** Location without credentials. */
  readonly repository: string;
  /** Branch followed; null: the repository's default. */
  readonly branch: string | null;
  readonly directory: string;
  readonly prefix: string;
  /** Paths that the mirror owns: its prefix, or, without one, the first segments that the repository has. */
  readonly owned: readonly string[];
  /** Whether it stands in the configuration, and so is polled and cannot be taken over. */
  readonly configured: boolean;
  /** Source commit whose state the tree was last given. */
  readonly commit: string | null;
  /** Root commit and content root that this made, or found in place. */
  readonly rootCommit: string | null;
  readonly root: string | null;
  readonly syncedAtMs: number | null;
  /** Set by a rollback: the mirror stays here until resumed. */
  readonly pin: { readonly commit: string; readonly by: string; readonly sinceMs: number } | null;
  /** Newest commit seen at the source, also where it was not taken. */
  readonly seenCommit: string | null;
  readonly lastAttemptMs: number | null;
  readonly error: SyncFailure | null;
}

/** Why a sync failed; what `get-sync-status` shows. */
export interface SyncFailure {
  readonly reason: string;
  readonly message: string;
  readonly commit: string | null;
  readonly atMs: number;
}

/** One sync of the past. */
export interface SyncRecord {
  readonly syncId: string;
  readonly mirror: string;
  readonly status: 'running' | 'completed' | 'up-to-date' | 'failed';
  readonly commit: string | null;
  readonly rootCommit: string | null;
  readonly root: string | null;
  readonly added: number;
  readonly updated: number;
  readonly removed: number;
  readonly by: string;
  readonly startedAtMs: number;
  readonly finishedAtMs: number | null;
  readonly error: SyncFailure | null;
}

/** Where the text of the registry is kept between starts. */
export interface StateText {
  load(): Promise<string | undefined>;
  save(text: string): Promise<void>;
}

/** Keeps the text in a file, replaced atomically and durably. */
export function fileState(path: string): StateText {
  return {
    async load() {
      try {
        return await readFile(path, 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw new IpeError('unavailable', `the state in \`${path}\` cannot be read`, { cause: error });
      }
    },
    async save(text) {
      const next = `${path}.new`;
      const file = await open(next, 'w', 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(next, path);
      const folder = await open(dirname(path), 'r');
      await folder.sync().finally(() => folder.close());
    },
  };
}

/** What the node knows of its mirrors: who owns which part of the tree, and what was last synced. */
export interface MirrorRegistry {
  list(): readonly MirrorRecord[];
  get(id: string): MirrorRecord | undefined;
  /** The mirror that owns `path`, or owns something below it where `below` is set. Synchronous: asked on every write. */
  ownerOf(path: string, below?: boolean): MirrorRecord | undefined;
  /** Newest first, at most 100. */
  syncs(): readonly SyncRecord[];
  /** Adds or replaces records, together and durably. Memory changes only where the state was saved. */
  save(change: { readonly mirrors?: readonly MirrorRecord[]; readonly sync?: SyncRecord }): Promise<void>;
  remove(id: string): Promise<void>;
}

const syncsKept = 100;

/**
 * Opens the registry.
 * @throws IpeError `corrupt` when the state cannot be understood: ownership must not be forgotten silently.
 */
export async function openMirrorRegistry(state: StateText): Promise<MirrorRegistry> {
  const text = await state.load();
  let mirrors = new Map<string, MirrorRecord>();
  let syncs: readonly SyncRecord[] = [];
  if (text !== undefined) {
    try {
      const parsed = JSON.parse(text) as { version: number; mirrors: MirrorRecord[]; syncs: SyncRecord[] };
      if (parsed.version !== 1) throw new Error(`version ${parsed.version} is not known`);
      mirrors = new Map(parsed.mirrors.map((record) => [record.id, record]));
      syncs = parsed.syncs;
    } catch (error) {
      throw new IpeError('corrupt', `the state of the mirrors is damaged: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  let saving: Promise<void> = Promise.resolve();
  /** One after the other, each built on what the one before left. */
  const change = (build: () => { mirrors: Map<string, MirrorRecord>; syncs: readonly SyncRecord[] }): Promise<void> => {
    const saved = saving.then(async () => {
      const next = build();
      const all = { version: 1, mirrors: [...next.mirrors.values()], syncs: next.syncs };
      await state.save(`${JSON.stringify(all, null, 1)}\n`);
      mirrors = next.mirrors;
      syncs = next.syncs;
    });
    saving = saved.catch(() => {});
    return saved;
  };

  return {
    list: () => [...mirrors.values()],
    get: (id) => mirrors.get(id),
    ownerOf(path, below = false) {
      for (const record of mirrors.values())
        for (const owned of record.owned)
          if (isAtOrBelow(path, owned) || (below && isAtOrBelow(owned, path))) return record;
      return undefined;
    },
    syncs: () => syncs,
    save: ({ mirrors: records = [], sync }) =>
      change(() => {
        const next = new Map(mirrors);
        for (const record of records) next.set(record.id, record);
        const others = syncs.filter(({ syncId }) => syncId !== sync?.syncId);
        return { mirrors: next, syncs: sync === undefined ? syncs : [sync, ...others].slice(0, syncsKept) };
      }),
    remove: (id) =>
      change(() => {
        const next = new Map(mirrors);
        next.delete(id);
        return { mirrors: next, syncs };
      }),
  };
}

/** Whether `path` is `prefix` or lies below it, by whole segments; everything is below `""`. */
export function isAtOrBelow(path: string, prefix: string): boolean {
  return prefix === '' || path === prefix || (path.startsWith(prefix) && path[prefix.length] === '.');
}
