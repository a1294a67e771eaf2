import type { Command } from 'commander';
import type { Cli } from './cli.ts';

/** A command's module: it adds arguments, options, examples and the action to a command that has name and summary. */
export interface CommandModule {
  define(command: Command, cli: Cli): void;
}

/** One command; its module is loaded only when it is called, because start-up time matters. */
export interface CommandEntry {
  /** Words after `ipe`, such as `policy get`. */
  readonly path: string;
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
}

/** Commands that only hold others. */
export const groups: Readonly<Record<string, string>> = {
  policy: 'Read and change single policies',
  data: 'Read and write facts',
  token: 'Make, list and revoke tokens',
  member: 'List, invite and evict the instances of a cluster',
  audit: 'Look after the audit log',
  config: 'Check and print the configuration',
};

/** Headings of `ipe --help`, in their order. */
export const sections: Readonly<Record<string, readonly string[]>> = {
  'Running a node': ['init', 'serve', 'status', 'config', 'token', 'member', 'audit'],
  Deciding: ['eval', 'explain', 'replay'],
  'Writing policies': ['check', 'test', 'fmt', 'apply', 'sync', 'policy'],
  'History of policies': ['log', 'diff', 'restore', 'refs', 'promote', 'pin', 'unpin', 'prove'],
  Facts: ['data'],
  Upkeep: ['verify', 'gc', 'backup', 'export', 'import'],
  Other: ['top', 'bench', 'completion'],
};

export const commands: readonly CommandEntry[] = [
  { path: 'serve', summary: 'Run a node', load: () => import('./commands/serve.ts') },
  { path: 'init', summary: 'Begin with a configuration and a first policy', load: () => import('./commands/init.ts') },
  { path: 'status', summary: 'Show what a node is doing', load: () => import('./commands/status.ts') },
  { path: 'policy get', summary: 'Show one policy', load: () => import('./commands/policy-get.ts') },
  { path: 'policy put', summary: 'Write one policy', load: () => import('./commands/policy-put.ts') },
  { path: 'policy rm', summary: 'Remove one policy', load: () => import('./commands/policy-rm.ts') },
  { path: 'policy ls', summary: 'List policies', load: () => import('./commands/policy-ls.ts') },
  {
    path: 'policy tree',
    summary: 'Draw directories and policies as a tree',
    load: () => import('./commands/policy-tree.ts'),
  },
  {
    path: 'policy history',
    summary: 'List the versions of a policy',
    load: () => import('./commands/policy-history.ts'),
  },
  { path: 'data get', summary: 'Show one fact', load: () => import('./commands/data-get.ts') },
  { path: 'data put', summary: 'Write one fact', load: () => import('./commands/data-put.ts') },
  { path: 'data rm', summary: 'Delete facts', load: () => import('./commands/data-rm.ts') },
  { path: 'data ls', summary: 'List facts', load: () => import('./commands/data-ls.ts') },
  { path: 'data query', summary: 'Find facts by pattern and value', load: () => import('./commands/data-query.ts') },
  { path: 'data watch', summary: 'Follow changes of facts', load: () => import('./commands/data-watch.ts') },
  { path: 'data history', summary: 'List the versions of a fact', load: () => import('./commands/data-history.ts') },
  { path: 'data export', summary: 'Write facts as NDJSON', load: () => import('./commands/data-export.ts') },
  { path: 'data import', summary: 'Read facts from NDJSON', load: () => import('./commands/data-import.ts') },
  { path: 'data backup', summary: 'Back up facts for recovery', load: () => import('./commands/data-backup.ts') },
  { path: 'data restore', summary: 'Join a backup of facts in', load: () => import('./commands/data-restore.ts') },
  { path: 'data scrub', summary: 'Look for damaged facts', load: () => import('./commands/data-scrub.ts') },
  {
    path: 'data conflicts',
    summary: 'List writes that wait for an operator',
    load: () => import('./commands/data-conflicts.ts'),
  },
  { path: 'data rekey', summary: 'Seal facts with new keys', load: () => import('./commands/data-rekey.ts') },
  { path: 'token create', summary: 'Make a token, shown once', load: () => import('./commands/token-create.ts') },
  { path: 'token ls', summary: 'List tokens', load: () => import('./commands/token-ls.ts') },
  { path: 'token revoke', summary: 'Revoke a token', load: () => import('./commands/token-revoke.ts') },
  { path: 'member ls', summary: 'List the instances of the cluster', load: () => import('./commands/member-ls.ts') },
  {
    path: 'member invite',
    summary: 'Print a token that lets one instance join',
    load: () => import('./commands/member-invite.ts'),
  },
  {
    path: 'member evict',
    summary: 'Sign an instance out of the cluster',
    load: () => import('./commands/member-evict.ts'),
  },
  {
    path: 'member promote',
    summary: 'Make an instance the one that takes policy writes',
    load: () => import('./commands/member-promote.ts'),
  },
  {
    path: 'member sync',
    summary: 'Fetch policies now, from the origin or another member',
    load: () => import('./commands/member-sync.ts'),
  },
  { path: 'eval', summary: 'Ask for a decision', load: () => import('./commands/eval.ts') },
  {
    path: 'explain',
    summary: 'Ask, and show how every expression came out',
    load: () => import('./commands/explain.ts'),
  },
  {
    path: 'replay',
    summary: 'Decide again from a receipt, and say what differs',
    load: () => import('./commands/replay.ts'),
  },
  { path: 'check', summary: 'Compile a folder of policies', load: () => import('./commands/check.ts') },
  { path: 'test', summary: 'Run the tests of a folder of policies', load: () => import('./commands/test.ts') },
  { path: 'apply', summary: 'Make a node hold the policies of a folder', load: () => import('./commands/apply.ts') },
  { path: 'fmt', summary: 'Lay policies and tests out in one way', load: () => import('./commands/fmt.ts') },
  { path: 'log', summary: 'List commits of the policy tree', load: () => import('./commands/log.ts') },
  { path: 'diff', summary: 'Compare two roots of the policy tree', load: () => import('./commands/diff.ts') },
  {
    path: 'restore',
    summary: 'Bring an earlier root back, as a new commit',
    load: () => import('./commands/restore.ts'),
  },
  { path: 'promote', summary: 'Move one ref to where another stands', load: () => import('./commands/promote.ts') },
  { path: 'refs', summary: 'List branches and pins of the policy tree', load: () => import('./commands/refs.ts') },
  { path: 'pin', summary: 'Give one root a name that never moves', load: () => import('./commands/pin.ts') },
  { path: 'unpin', summary: 'Drop a pin or a branch', load: () => import('./commands/unpin.ts') },
  { path: 'prove', summary: 'Prove that a policy is, or is not, in a root', load: () => import('./commands/prove.ts') },
  { path: 'verify', summary: 'Check the stored policy tree', load: () => import('./commands/verify.ts') },
  { path: 'gc', summary: 'Delete objects that nothing needs any more', load: () => import('./commands/gc.ts') },
  { path: 'backup', summary: 'Write policies and their history to a file', load: () => import('./commands/backup.ts') },
  {
    path: 'export',
    summary: 'Write policies and their history as a bare Git repository',
    load: () => import('./commands/export.ts'),
  },
  { path: 'import', summary: 'Restore a backup or an exported repository', load: () => import('./commands/import.ts') },
  { path: 'sync', summary: 'Mirror policies from a Git repository', load: () => import('./commands/sync.ts') },
  {
    path: 'audit verify',
    summary: 'Check the chain of hashes of the audit log',
    load: () => import('./commands/audit-verify.ts'),
  },
  { path: 'config check', summary: 'Check a configuration file', load: () => import('./commands/config-check.ts') },
  {
    path: 'config print',
    summary: 'Print the configuration in effect',
    load: () => import('./commands/config-print.ts'),
  },
  {
    path: 'config schema',
    summary: 'Print the JSON Schema of the configuration',
    load: () => import('./commands/config-schema.ts'),
  },
  { path: 'top', summary: 'Watch what a node is busy with', load: () => import('./commands/top.ts') },
  { path: 'bench', summary: 'Load a running node and measure it', load: () => import('./commands/bench.ts') },
  {
    path: 'completion',
    summary: 'Print a completion script for a shell',
    load: () => import('./commands/completion.ts'),
  },
];
