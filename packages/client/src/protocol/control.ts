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
}

export interface ApplyResult {
  readonly root: string;
  readonly commit: string | null;
  readonly changed: readonly unknown[];
  readonly reused_objects: number;
  readonly new_objects: number;
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
  /** A local path or URL that `git` understands. */
  readonly repository: string;
  readonly branch?: string;
  /** Folder inside the repository that holds the policies. */
  readonly directory?: string;
  readonly dry_run?: boolean;
  readonly [option: string]: unknown;
}

export interface SyncResult {
  readonly sync_id: string;
  readonly status: string;
  readonly policies_added: number;
  readonly policies_updated: number;
  readonly policies_removed: number;
  readonly commit: string;
  readonly root: string;
  readonly [detail: string]: unknown;
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
    };
    result: { path: string; version: string; root: string; commit: string; warnings: readonly unknown[] };
  };
  'delete-policy': {
    params: {
      path: string;
      expected_root?: string;
      expected_version?: string | null;
      message?: string;
      ref?: string;
    };
    result: { root: string; commit: string };
  };
  apply: { params: ApplyParams; result: ApplyResult };
  check: { params: { changes: readonly PolicyChange[] }; result: Row };
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
  history: { params: { path: string; limit?: number }; result: { versions: readonly Row[] } };
  log: { params: { ref?: string } & Page; result: { commits: readonly Row[]; cursor?: string } };
  diff: { params: { from: string; to: string; patch?: boolean }; result: Row };
  restore: { params: { root: string; message?: string }; result: Row };
  verify: { params: { level?: 'quick' | 'connectivity' | 'full' }; result: Row };
  gc: { params: { retention_days: number; dry_run?: boolean }; result: Row };
  refs: { params: Record<string, never>; result: Row };
  promote: { params: { from: string; to: string }; result: Row };
  pin: { params: Row; result: Row };
  unpin: { params: Row; result: Row };
  backup: { params: Row; result: Row };
  'restore-backup': { params: Row; result: Row };
  'sync-from-git': { params: SyncParams; result: SyncResult };
  'get-sync-status': { params: Row; result: Row };
  'sync-from-peer': { params: Row; result: Row };
  'rollback-to-commit': { params: Row; result: Row };
  prove: { params: { path: string; root?: string }; result: Row };
  status: { params: Record<string, never>; result: Row };
  members: { params: Record<string, never>; result: Row };
  'token-create': { params: TokenCreateParams; result: { id: string; token: string } & Row };
  'token-list': { params: Record<string, never>; result: { tokens: readonly Row[] } };
  'token-revoke': { params: { id: string }; result: Row };
  evict: { params: Row; result: Row };
}
