import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CallReport } from '../api/dispatch.ts';
import { type AuditEvent, openAuditLog, verifyAudit } from './audit.ts';
import { auditCalls } from './audit-calls.ts';

let directory: string;
const errors: unknown[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ipe-'));
  errors.length = 0;
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const openIt = (options: { maxBytes?: number; keep?: number } = {}) =>
  openAuditLog({
    directory,
    maxBytes: 1_000_000,
    keep: 100,
    now: () => 0,
    onError: (error) => errors.push(error),
    ...options,
  });

async function write(count: number, options: { maxBytes?: number; keep?: number } = {}) {
  const audit = await openIt(options);
  for (let i = 0; i < count; i++) {
    audit.append({ event: 'test', i });
    if (i % 7 === 0) await audit.flush();
  }
  const { head } = audit;
  await audit.close();
  return head;
}

const onlyFile = async () => join(directory, (await readdir(directory))[0]!);

test('a chain goes on over restarts and files, and verifies to its head', async () => {
  await write(10, { maxBytes: 1000 });
  const head = await write(30, { maxBytes: 1000 });
  expect(head.number).toBe(40);
  const report = await verifyAudit(directory);
  expect(report).toMatchObject({ lines: 40, first: 1, head, problems: [] });
  expect(report.files).toBeGreaterThan(3);
  expect(errors).toEqual([]);
});

test('lines that gathered are spread over files of the size set', async () => {
  const audit = await openIt({ maxBytes: 1000 });
  for (let i = 0; i < 40; i++) audit.append({ event: 'test', i });
  await audit.close();
  expect(await verifyAudit(directory)).toMatchObject({ lines: 40, head: audit.head, problems: [] });
  const sizes = await Promise.all(
    (await readdir(directory)).map(async (name) => (await stat(join(directory, name))).size),
  );
  expect(sizes.length).toBeGreaterThan(5);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(1000);
});

test('old files are removed, and what is left still verifies', async () => {
  await write(60, { maxBytes: 700, keep: 3 });
  const report = await verifyAudit(directory);
  expect([report.files, report.problems]).toEqual([3, []]);
  expect(report.first).toBeGreaterThan(1);
});

test('a changed, a removed, an inserted and a swapped line are each found', async () => {
  await write(6);
  const path = await onlyFile();
  const whole = await readFile(path, 'utf8');
  const lines = whole.trimEnd().split('\n');
  const tampered: Record<string, string[]> = {
    changed: lines.map((line, i) => (i === 2 ? line.replace('"i":2', '"i":9') : line)),
    removed: lines.filter((_, i) => i !== 2),
    inserted: [...lines.slice(0, 3), lines[2]!, ...lines.slice(3)],
    swapped: [lines[0]!, lines[2]!, lines[1]!, ...lines.slice(3)],
    'first removed and renumbered': lines.slice(1).map((line, i) => line.replace(/"n":\d+/, `"n":${i + 1}`)),
    garbage: [...lines.slice(0, 3), '{}', ...lines.slice(3)],
  };
  for (const [what, each] of Object.entries(tampered)) {
    await writeFile(path, `${each.join('\n')}\n`);
    expect((await verifyAudit(directory)).problems, what).not.toEqual([]);
  }
});

test('a line that a crash left unfinished is cut off and the chain goes on', async () => {
  await write(3);
  await appendFile(await onlyFile(), '{"n":4,"ti');
  await write(2);
  expect(await verifyAudit(directory)).toMatchObject({ lines: 5, problems: [] });
});

test('a damaged last line stops the log from being continued', async () => {
  await write(2);
  await appendFile(await onlyFile(), 'nonsense\n');
  await expect(openIt()).rejects.toMatchObject({ reason: 'corrupt' });
});

test('control operations are all recorded, data writes by their share, without values, sources or tokens', () => {
  const events: AuditEvent[] = [];
  let dice = 0;
  const audit = {
    append: (event: AuditEvent) => void events.push(event),
    flush: async () => {},
    head: { number: 0, hash: '' },
    close: async () => {},
  };
  const record = auditCalls(audit, 0.5, () => dice);
  const report = (
    plane: CallReport['plane'],
    method: string,
    verb: 'read' | 'write' | 'admin',
    params: unknown,
    failure?: string,
  ): CallReport => ({
    plane,
    method,
    row: { tokens: ['admin'], verb },
    params,
    durationMs: 1,
    ...(failure === undefined ? {} : { failure }),
    context: {
      caller: { kind: 'admin', tokenId: 't1', name: 'ann' },
      signal: new AbortController().signal,
      requestId: 'r',
    },
  });
  record(report('control', 'put-policy', 'admin', { path: 'a.b', source: 'SECRET', token: 'SECRET' }));
  record(report('control', 'apply', 'admin', { changes: [{ path: 'a.b', source: 'SECRET' }] }, 'policy_invalid'));
  record(report('control', 'status', 'read', {}, 'forbidden'));
  record(report('control', 'status', 'read', {}));
  dice = 0.4;
  record(report('data', 'put', 'write', { key: 'a.b', value: 'SECRET' }));
  dice = 0.6;
  record(report('data', 'put', 'write', { key: 'a.c', value: 'SECRET' }));
  expect(events.map(({ method, outcome }) => [method, outcome])).toEqual([
    ['put-policy', 'ok'],
    ['apply', 'policy_invalid'],
    ['status', 'forbidden'],
    ['put', 'ok'],
  ]);
  expect(events[1]).toMatchObject({ params: { count: 1, first: ['a.b'] }, by: 'ann', token: 't1', request: 'r' });
  expect(JSON.stringify(events)).not.toContain('SECRET');
});
