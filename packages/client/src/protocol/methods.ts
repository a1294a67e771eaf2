/** The three planes; each has its own socket and privilege. */
export const planes = ['control', 'data', 'evaluation'] as const;
export type Plane = (typeof planes)[number];

/** What a token was issued for. Admin tokens open every plane, the others one. */
export const tokenKinds = ['admin', 'service', 'application'] as const;
export type TokenKind = (typeof tokenKinds)[number];

/** One method of the surface: where it answers, whose token opens it, and what it does to state. */
export interface MethodRow {
  readonly tokens: readonly TokenKind[];
  /** `read` changes nothing; `write` needs the namespace's write verb on the data plane; `admin` is audited in full. */
  readonly verb: 'read' | 'write' | 'admin';
  /** Only over an event-stream session or SSE, because it answers more than once. */
  readonly streaming?: true;
}

const control = (verb: MethodRow['verb'], extra: Partial<MethodRow> = {}): MethodRow => ({
  tokens: ['admin'],
  verb,
  ...extra,
});
const data = (verb: MethodRow['verb'], extra: Partial<MethodRow> = {}): MethodRow => ({
  tokens: ['admin', 'service'],
  verb,
  ...extra,
});
const evaluation = (extra: Partial<MethodRow> = {}): MethodRow => ({
  tokens: ['admin', 'application'],
  verb: 'read',
  ...extra,
});

/**
 * Every method of every plane (API.md). A server refuses a name that is not in its plane's table with
 * `method_not_found`, and a token whose kind is not listed with `forbidden`.
 */
export const methods = {
  control: {
    'put-policy': control('admin'),
    'delete-policy': control('admin'),
    apply: control('admin'),
    check: control('read'),
    'get-policy': control('read'),
    'list-policies': control('read'),
    'list-children': control('read'),
    'get-subtree': control('read'),
    history: control('read'),
    log: control('read'),
    diff: control('read'),
    restore: control('admin'),
    verify: control('read'),
    gc: control('admin'),
    refs: control('read'),
    promote: control('admin'),
    pin: control('admin'),
    unpin: control('admin'),
    backup: control('admin'),
    'restore-backup': control('admin'),
    'sync-from-git': control('admin'),
    'get-sync-status': control('read'),
    'sync-from-peer': control('admin'),
    'rollback-to-commit': control('admin'),
    prove: control('read'),
    status: control('read'),
    members: control('read'),
    'member-invite': control('admin'),
    'token-create': control('admin'),
    'token-list': control('read'),
    'token-revoke': control('admin'),
    evict: control('admin'),
    'member-promote': control('admin'),
    conflicts: control('read'),
    'conflict-release': control('admin'),
    'conflict-discard': control('admin'),
    rekey: control('admin'),
    scrub: control('admin'),
    'data-backup': control('admin'),
    'data-restore': control('admin'),
    subscribe: control('read', { streaming: true }),
    unsubscribe: control('read', { streaming: true }),
  },
  data: {
    put: data('write'),
    'batch-put': data('write'),
    get: data('read'),
    'batch-get': data('read'),
    delete: data('write'),
    transaction: data('write'),
    query: data('read'),
    'hold-snapshot': data('read'),
    'release-snapshot': data('read'),
    history: data('read'),
    add: data('write'),
    'set-add': data('write'),
    'set-remove': data('write'),
    subscribe: data('read', { streaming: true }),
    unsubscribe: data('read', { streaming: true }),
    stats: data('read'),
  },
  evaluation: {
    evaluate: evaluation(),
    'evaluate-batch': evaluation(),
    'list-policies': evaluation(),
    'get-policy': evaluation(),
    replay: evaluation({ tokens: ['admin'] }),
    subscribe: evaluation({ streaming: true }),
    unsubscribe: evaluation({ streaming: true }),
  },
} as const satisfies Record<Plane, Record<string, MethodRow>>;
