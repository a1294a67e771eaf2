/** Wire types of the control plane (API.md, "Control plane methods"). Roots, commits and versions are hex ids. */

/** A change of the policy tree: a policy written (with its tests, where it has some) or removed. */
export type PolicyChange = {
  readonly path: string;
  /** Version the change was made against; null: the policy must not exist. Else `conflict`. */
  readonly expected_version?: string | null;
} & ({ readonly source: string; readonly test?: string } | { readonly delete: true });

export interface ApplyParams {
  readonly changes: readonly PolicyChange[];
  /** Strict compare-and-swap on the whole tree. */
  readonly expected_root?: string;
  readonly message?: string;
  readonly ref?: string;
  readonly dry_run?: boolean;
  /** Writes below a mirrored repository too; its next sync puts its own state back. */
  readonly force?: boolean;
}

/** One policy that an update changed. */
export interface ChangedPolicy {
  readonly path: string;
  readonly change: 'added' | 'changed' | 'removed';
  /** Version made; for `removed` the one that marks the deletion. */
  readonly version: string;
  readonly previous_version: string | null;
}

/** What an update did: the ref is at `commit` now, whose content is `root`. */
export interface UpdateResult {
  readonly root: string;
  readonly commit: string;
  readonly ref: string;
  readonly previous_root: string;
  readonly previous_commit: string | null;
  readonly changed: readonly ChangedPolicy[];
  readonly reused_objects: number;
  readonly new_objects: number;
}

export interface ApplyResult extends UpdateResult {
  readonly dry_run: boolean;
  /** Tests that ran, all of them passed. */
  readonly tests: number;
  readonly warnings: readonly FileProblem[];
}

/** Something wrong, or doubtful, in a file of policies or tests, shown down to the column where it can be. */
export interface FileProblem {
  readonly file: string;
  readonly path?: string;
  readonly severity: 'error' | 'warning';
  readonly code: string;
  readonly message: string;
  readonly line?: number;
  readonly column?: number;
  readonly expression?: string;
  readonly underline?: string;
  readonly hint?: string;
}

export interface Author {
  readonly name: string;
  readonly email: string;
}

/** A commit of the policy tree. */
export interface Commit {
  readonly commit: string;
  readonly root: string;
  readonly parents: readonly string[];
  readonly author: Author;
  readonly time: number;
  readonly message: string;
  readonly trailers: Readonly<Record<string, string>>;
}

/** A version of one policy; `hash` is null for the version that marks a deletion. */
export interface PolicyVersion {
  readonly version: string;
  readonly hash: string | null;
  readonly deleted: boolean;
  readonly commit: string;
  readonly author: Author;
  readonly time: number;
  readonly message: string;
}

export interface DiffEntry {
  readonly path: string;
  readonly before: string | null;
  readonly after: string | null;
  readonly parts: readonly ('source' | 'program' | 'manifest' | 'test')[];
  readonly source_patch?: string;
  readonly test_patch?: string;
}

export interface DiffResult {
  readonly from: { readonly root: string; readonly commit: string | null };
  readonly to: { readonly root: string; readonly commit: string | null };
  readonly added: readonly DiffEntry[];
  readonly changed: readonly DiffEntry[];
  readonly removed: readonly DiffEntry[];
}

/** A named root: branches move, pins stay. */
export interface Ref {
  readonly name: string;
  readonly kind: 'branch' | 'pin';
  readonly commit: string;
  readonly root: string;
  readonly updated_at: number;
}

export interface PolicyInfo {
  readonly path: string;
  readonly version: string | null;
  readonly updated_at?: number;
  readonly source?: string;
  readonly test?: string;
  readonly program?: unknown;
  readonly [detail: string]: unknown;
}

export interface PolicyList {
  readonly policies: readonly {
    readonly path: string;
    readonly version: string;
    readonly program: string;
    readonly updated_at?: number;
  }[];
  readonly cursor?: string;
}

export interface TreeNode {
  readonly path: string;
  readonly depth: number;
  readonly kind: 'directory' | 'policy';
  readonly hash: string;
  readonly updated_at?: number;
}

export interface SyncParams {
  /** A local path or URL that `git` understands, or the id of a mirror; absent: the only mirror there is. */
  readonly repository?: string;
  /** Branch or tag; absent: the one followed so far, else the repository's default. */
  readonly branch?: string;
  /** Folder inside the repository that holds the policies. */
  readonly directory?: string;
  /** Place in the policy tree that the mirror owns; absent: the first segments that the repository has. */
  readonly prefix?: string;
  readonly dry_run?: boolean;
  /** Confirms that a repository without policies is meant to empty its place. */
  readonly allow_empty?: boolean;
  /** Takes over what a configured mirror owns. */
  readonly force?: boolean;
  /** Lifts the pin of a rollback first. */
  readonly resume?: boolean;
  /** Forgets the mirror instead: its policies stay, and belong to nobody. */
  readonly detach?: boolean;
}

/** What a sync from another instance did. */
export interface PeerSync {
  /** Member that was asked. */
  readonly from: string;
  readonly root: string;
  readonly commit: string | null;
  /** Objects and bytes that came over the link. */
  readonly objects: number;
  readonly bytes: number;
}

/** What a sync did, or with `dry_run` would do. */
export interface SyncResult {
  readonly sync_id: string;
  readonly status: 'completed' | 'up-to-date' | 'dry-run';
  readonly policies_added: number;
  readonly policies_updated: number;
  readonly policies_removed: number;
  /** Commit of the repository; accepted wherever a root is asked for. */
  readonly commit: string;
  /** Content root of the policy tree, and the root commit that carries it. */
  readonly root: string;
  readonly root_commit: string;
  /** Id of the mirror. */
  readonly mirror: string;
  readonly repository: string;
  readonly branch: string;
  readonly directory: string;
  readonly prefix: string;
  /** Whether the mirror stays at this commit until resumed. */
  readonly pinned: boolean;
  /** Policies that the commit holds. */
  readonly policies: number;
  /** Tests that ran: those of policies that are new or changed. */
  readonly tests: number;
  readonly author: Author;
  readonly message: string;
  readonly signed_by: string | null;
  readonly changes: readonly ChangedPolicy[];
  /** Paths that had been changed here and now are as in the repository again. */
  readonly drift_reverted: readonly string[];
  readonly warnings: readonly FileProblem[];
  /** With `dry_run`: tests whose result would change. */
  readonly changed_tests?: readonly {
    readonly path: string;
    readonly name: string;
    /** Whether the test stands in the tree now, or comes with the commit. */
    readonly suite: 'current' | 'incoming';
    readonly before: 'passed' | 'failed';
    readonly after: 'passed' | 'failed';
    readonly message?: string;
  }[];
  /** With `dry_run`: unified patches of the first 500 changes. */
  readonly patches?: readonly {
    readonly path: string;
    readonly change: 'added' | 'changed' | 'removed';
    readonly source_patch?: string;
    readonly test_patch?: string;
  }[];
}

/** How a mirror stands. */
export interface Mirror {
  readonly mirror: string;
  readonly repository: string;
  readonly branch: string | null;
  readonly directory: string;
  readonly prefix: string;
  readonly owned: readonly string[];
  readonly configured: boolean;
  readonly status: 'new' | 'synced' | 'failed' | 'pinned';
  readonly commit: string | null;
  readonly root: string | null;
  readonly root_commit: string | null;
  readonly synced_at: number | null;
  readonly pin: { readonly commit: string; readonly by: string; readonly since: number } | null;
  readonly seen_commit: string | null;
  readonly behind: boolean;
  readonly last_attempt_at: number | null;
  readonly error: { readonly reason: string; readonly message: string; readonly at: number } | null;
  /** Policies that differ from what the last sync put there. */
  readonly drift: readonly string[];
}

/**
 * A backup comes in pieces: `data` is base64, and `next`, given back as `cursor`, brings the piece after. What describes
 * the whole stands in the first piece only.
 */
export interface BackupPiece {
  readonly data: string;
  readonly next?: string;
  /** `full`: a tar of a bare Git repository; `incremental`: a Git bundle of what came after `since`. */
  readonly kind?: 'full' | 'incremental';
  readonly commit?: string | null;
  readonly since?: string | null;
  readonly objects?: number;
  readonly size_bytes?: number;
}

/** What restoring a backup did: continued our history, made one commit that carries its content, or nothing. */
export interface RestoredBackup extends UpdateResult {
  readonly outcome: 'fast-forward' | 'restored' | 'none';
  /** Objects that were not here before. */
  readonly stored_objects: number;
  /** Branches and pins taken over besides `main`. */
  readonly refs: readonly string[];
}

export interface TokenCreateParams {
  readonly kind: 'admin' | 'service' | 'application';
  readonly name: string;
  readonly namespaces?: readonly string[];
  readonly verbs?: readonly ('read' | 'write')[];
  readonly grants?: readonly string[];
  /** Seconds until it expires. */
  readonly ttl?: number;
}

/** What checking the stored policy tree found. Reports, never deletes. */
export interface VerifyReport {
  readonly ok: boolean;
  readonly level: 'quick' | 'connectivity' | 'full';
  readonly root: string;
  readonly checked_objects: number;
  readonly problem_count: number;
  readonly problems: readonly unknown[];
}

/** Lines of a backup of facts. */
export interface FactsPiece {
  readonly lines: string;
  /** Entries in this piece and those before. */
  readonly entries: number;
  readonly next?: string;
}

/** What restoring lines of a backup of facts did. */
export interface RestoredFacts {
  readonly entries: number;
  /** Entries that were known here already, so that what became of them since stands. */
  readonly skipped: number;
  /** Whether the backup's last line was among them. */
  readonly done: boolean;
}

/** How far sealing all facts again has come. */
export interface RekeyReport {
  readonly state: 'running' | 'done' | 'idle' | 'failed';
  readonly rows: number;
  readonly families_done: number;
  readonly families: number;
  readonly rewrapped: boolean;
  readonly error?: string;
}

/** What the last look at everything stored met, or the one under way has met so far. */
export interface ScrubReport {
  readonly state: 'running' | 'done' | 'idle' | 'failed';
  /** Facts, and records of the log, that were looked at. */
  readonly rows: number;
  readonly records: number;
  /**
   * Damaged facts and log records that wait for a peer to mend them from; some facts by key. Among them are facts whose
   * text is not JSON any more, which only a new write cures.
   */
  readonly damaged: number;
  readonly damaged_keys: readonly string[];
  readonly damaged_records: number;
  /** Facts and records that were mended since the node started. */
  readonly mended: number;
  readonly error?: string;
}

/** What a garbage collection did, or would do: counts of objects, and bytes freed. */
export interface CollectReport {
  readonly dry_run: boolean;
  readonly retained_commits: number;
  /** Kept commits before which history ends. */
  readonly boundary_commits: number;
  /** Root commits kept because decisions logged within retention were made at them. */
  readonly cited_roots: number;
  readonly reachable: number;
  readonly scanned: number;
  readonly unreachable: number;
  readonly condemned: number;
  readonly cleared: number;
  readonly waiting: number;
  readonly deleted: number;
  readonly deleted_bytes: number;
}

/** What a node keeps of a token: everything but the secret. */
export interface TokenInfo {
  readonly id: string;
  readonly kind: 'admin' | 'service' | 'application';
  readonly name: string;
  readonly created_at?: number;
  readonly expires_at?: number | null;
  readonly revoked?: boolean;
  readonly namespaces?: readonly string[];
}

/** An instance of the cluster, as this one knows it. */
export interface Member {
  readonly id: string;
  /** Origin of its writes: 16 hexadecimal digits. */
  readonly origin: string;
  readonly state: 'active' | 'evicted';
  /** Where its peer listener answers; null where it only dials. */
  readonly peer: string | null;
  readonly linked: boolean;
  readonly fingerprint: string;
  /** Seconds since any member heard it; null for this instance itself and for evicted ones. */
  readonly heard: number | null;
  /** By namespace: records that it has and this instance lacks, and the other way round. */
  readonly lag: Readonly<Record<string, { readonly behind: number; readonly ahead: number }>>;
}

/** A write that only a returned member had, and that may concern something deleted meanwhile. */
export interface ParkedWrite {
  readonly id: string;
  readonly key: string;
  readonly op: 'put' | 'add' | 'set-add';
  /** When it was made, Unix seconds. */
  readonly written_at: number;
  readonly value?: unknown;
  readonly value_base64?: string;
  readonly amount?: number;
  readonly members?: readonly unknown[];
}

/** A record that is held back because its time lies more than an hour ahead. */
export interface HeldRecord {
  readonly id: string;
  /** Who wrote it: its clock is ahead. */
  readonly origin: string;
  /** When it is applied by itself, Unix seconds. */
  readonly due_at: number;
  readonly keys: readonly string[];
}

type Row = Readonly<Record<string, unknown>>;
type Page = { limit?: number; cursor?: string };

/** Every method of the control plane that answers once. */
export interface ControlCalls {
  'put-policy': {
    params: {
      path: string;
      source: string;
      test?: string;
      expected_root?: string;
      expected_version?: string | null;
      message?: string;
      ref?: string;
      force?: boolean;
    };
    result: {
      path: string;
      version: string;
      root: string;
      commit: string;
      changed: boolean;
      warnings: readonly FileProblem[];
    };
  };
  'delete-policy': {
    params: {
      path: string;
      expected_root?: string;
      expected_version?: string | null;
      message?: string;
      ref?: string;
      force?: boolean;
    };
    result: { path: string; root: string; commit: string };
  };
  apply: { params: ApplyParams; result: ApplyResult };
  check: {
    params: { changes: readonly PolicyChange[]; ref?: string };
    result: {
      ok: boolean;
      policies: number;
      problems: readonly FileProblem[];
      warnings: readonly FileProblem[];
      tests: { passed: number; failed: number; results: readonly Row[] };
      /** Why the tree would not take the changes although they compile and pass. */
      refused: { readonly reason: string; readonly message: string; readonly [detail: string]: unknown } | null;
    };
  };
  'get-policy': { params: { path: string; root?: string; source?: boolean }; result: PolicyInfo };
  'list-policies': { params: { prefix?: string; root?: string } & Page; result: PolicyList };
  'list-children': {
    params: { path: string; root?: string } & Page;
    result: {
      children: readonly { name: string; kind: 'directory' | 'policy'; hash: string; updated_at?: number }[];
      cursor?: string;
    };
  };
  'get-subtree': {
    params: { path: string; depth?: number; order?: 'dfs' | 'bfs'; root?: string } & Page;
    result: { nodes: readonly TreeNode[]; cursor?: string };
  };
  history: {
    params: { path: string; limit?: number };
    result: { versions: readonly PolicyVersion[]; cursor?: string };
  };
  log: { params: { path?: string; ref?: string } & Page; result: { commits: readonly Commit[]; cursor?: string } };
  diff: { params: { from: string; to?: string; patches?: boolean; prefix?: string }; result: DiffResult };
  restore: {
    params: { root: string; message?: string; ref?: string; expected_root?: string };
    result: UpdateResult & { tests: number; warnings: readonly string[] };
  };
  verify: { params: { level?: 'quick' | 'connectivity' | 'full' }; result: VerifyReport };
  gc: { params: { retention_days: number; dry_run?: boolean; grace_seconds?: number }; result: CollectReport };
  refs: { params: Record<string, never>; result: { refs: readonly Ref[] } };
  promote: {
    params: { from: string; to?: string; message?: string; expected_root?: string; force?: boolean };
    result: UpdateResult & { tests: number };
  };
  pin: { params: { name: string; root?: string }; result: Ref };
  unpin: { params: { name: string }; result: { name: string } };
  backup: {
    params: { since?: string; cursor?: undefined } | { cursor: string };
    result: BackupPiece;
  };
  'restore-backup': {
    params: { data?: string; upload?: string; more?: boolean; branch?: string; message?: string };
    result: RestoredBackup | { readonly upload: string };
  };
  'sync-from-git': { params: SyncParams; result: SyncResult };
  'get-sync-status': {
    params: { sync_id?: string; repository?: string };
    result: Row & { readonly mirrors?: readonly Mirror[] };
  };
  /** Fetches policies now: from the origin, or from the member `peer` what the origin signed. */
  'sync-from-peer': { params: { peer?: string }; result: PeerSync };
  'rollback-to-commit': {
    params: { commit: string; repository?: string; dry_run?: boolean; allow_empty?: boolean };
    result: SyncResult;
  };
  prove: { params: { path: string; root?: string }; result: Row };
  status: { params: Record<string, never>; result: Row };
  members: { params: Record<string, never>; result: { members: readonly Member[] } };
  'member-invite': {
    params: { ttl?: number };
    result: { token: string; expires_in: number; address: string | null };
  };
  'token-create': { params: TokenCreateParams; result: { id: string; token: string } & Row };
  'token-list': { params: Record<string, never>; result: { tokens: readonly TokenInfo[] } };
  'token-revoke': { params: { id: string }; result: Row };
  /** `force`: even where the member may alone hold acknowledged writes of one that was evicted before it. */
  evict: { params: { member: string; force?: boolean }; result: Row };
  /** Makes a member the origin, which takes policy writes; only where the cluster key is. */
  'member-promote': { params: { member: string }; result: { id: string; origin: string; term: number } };
  /** All facts of one moment with the ids of their writes, as lines of JSON in pieces: `next` brings the piece after. */
  'data-backup': { params: { cursor?: string }; result: FactsPiece };
  /** Joins lines of a backup in, whole lines in their order, as many as fit a request. */
  'data-restore': { params: { lines: string }; result: RestoredFacts };
  /** Writes that wait for an operator, parked or held back, and conditional writes that lost a merge, latest first. */
  conflicts: {
    params: { namespace?: string; limit?: number };
    result: { parked: readonly ParkedWrite[]; held: readonly HeldRecord[]; superseded: readonly Row[] };
  };
  /** Lets a parked write, or a record that is held back, take part now. */
  'conflict-release': { params: { id: string }; result: { id: string; released: true } };
  /** Forgets a parked write, or takes the effect from a record that is held back, everywhere. */
  'conflict-discard': { params: { id: string }; result: { id: string; discarded: true } };
  /**
   * Changes the keys that facts are sealed with at rest; `start: false` only tells how far that has come, after `wait`
   * seconds or when it has ended.
   */
  rekey: { params: { new_key_path?: string; start?: boolean; wait?: number }; result: RekeyReport };
  /**
   * Looks at every fact and log record stored here, in search of damage, which peers then mend; `start: false` only tells
   * how far that has come, after `wait` seconds or when it has ended.
   */
  scrub: { params: { start?: boolean; wait?: number }; result: ScrubReport };
}
