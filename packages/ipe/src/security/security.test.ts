import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CallContext, Caller } from '../api/method.ts';
import { mayAccess, requireAccess } from './access.ts';
import { openDoor, TokenRegistry, type WriteRules } from './authenticator.ts';
import { ensureCredentials, readCredentials } from './credentials.ts';
import { TokenManager } from './manager.ts';
import { readTokenGrant, tokenHandlers } from './methods.ts';
import { fileTokenStore, memoryTokenStore } from './store.ts';
import { hashToken, idOf, issueToken } from './tokens.ts';

let folder: string;
let now = 1000;
beforeEach(async () => {
  now = 1000;
  folder = await mkdtemp(join(tmpdir(), 'ipe-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const registryWith = (rules: Partial<WriteRules> = {}) =>
  new TokenRegistry({ nowSeconds: () => now, rules: { enforceNamespaces: true, ...rules } });
const bearer = (token: string) => `Bearer ${token}`;

describe('tokens', () => {
  test('each is different, in a form that needs no quoting, and names its id', () => {
    const tokens = Array.from({ length: 200 }, () => issueToken({ kind: 'service', name: 's' }, now));
    expect(new Set(tokens.map(({ token }) => token)).size).toBe(200);
    for (const { token, record } of tokens) {
      expect(token).toMatch(/^ipe_service_[0-9a-f]{16}_[0-9A-Za-z]{43}$/);
      expect(idOf(token)).toBe(record.id);
      expect(JSON.stringify(record)).not.toContain(token.slice(-43));
    }
  });

  test('one authenticates as what it was issued for, until it expires or is replaced', () => {
    const registry = registryWith();
    const { token, record } = issueToken({ kind: 'service', name: 's', namespaces: ['a'], expires_at: 1010 }, now);
    registry.replace([record]);
    const caller = registry.authenticate(bearer(token));
    expect(caller).toMatchObject({ kind: 'service', name: 's', tokenId: record.id, namespaces: ['a'] });
    now = 1010;
    expect(registry.stands(caller)).toBe(false);
    expect(() => registry.authenticate(bearer(token))).toThrow(/expired/);
    now = 1000;
    registry.replace([]);
    expect(() => registry.authenticate(bearer(token))).toThrow(/revoked/);
  });

  test('a token that differs in its last character, kind or id is unknown', () => {
    const registry = registryWith();
    const { token, record } = issueToken({ kind: 'service', name: 's' }, now);
    registry.replace([record]);
    const last = token.endsWith('a') ? 'b' : 'a';
    for (const forged of [
      token.slice(0, -1) + last,
      token.replace('service', 'admin'),
      token.slice(0, -1),
      `${token}x`,
      record.hash,
    ])
      expect(() => registry.authenticate(bearer(forged)), forged).toThrow(/unknown/);
  });
});

describe('namespaces', () => {
  const as = (caller: Partial<Caller>): Caller => ({ kind: 'service', tokenId: 't', name: 's', ...caller });
  const allowed = (caller: Caller, namespace: string) => [
    mayAccess(caller, namespace, 'read'),
    mayAccess(caller, namespace, 'write'),
  ];

  test('a service may touch its namespaces with its verbs, an admin all, an application none, nobody the reserved ones', () => {
    expect(allowed(as({}), 'a')).toEqual([true, true]);
    expect(allowed(as({ namespaces: ['b'] }), 'a')).toEqual([false, false]);
    expect(allowed(as({ namespaces: ['a'], verbs: ['read'] }), 'a')).toEqual([true, false]);
    expect(allowed(as({ kind: 'application' }), 'a')).toEqual([false, false]);
    expect(allowed(as({ kind: 'admin' }), 'a')).toEqual([true, true]);
    for (const kind of ['admin', 'service', 'application'] as const)
      expect(allowed(as({ kind }), '_sys')).toEqual([false, false]);
    expect(() => requireAccess(as({ namespaces: ['b'] }), 'a', 'write')).toThrow(/may not write namespace `a`/);
  });

  test("the configuration's writers narrow what tokens allow", () => {
    const registry = registryWith({
      allowedWriters: ['deploy', 'other'],
      namespaceAuth: new Map([['approvals', new Set(['deploy'])]]),
    });
    const issued = ['deploy', 'other', 'stranger'].map((name) => issueToken({ kind: 'service', name }, now));
    registry.replace(issued.map(({ record }) => record));
    const [deploy, other, stranger] = issued.map(({ token }) => registry.authenticate(bearer(token)));
    expect([deploy, other, stranger].map((caller) => mayAccess(caller!, 'approvals', 'write'))).toEqual([
      true,
      false,
      false,
    ]);
    expect([deploy, other, stranger].map((caller) => mayAccess(caller!, 'rates', 'write'))).toEqual([
      true,
      true,
      false,
    ]);
    expect([deploy, other, stranger].map((caller) => mayAccess(caller!, 'approvals', 'read'))).toEqual([
      true,
      true,
      true,
    ]);
  });

  test('without enforcement a token reaches all namespaces but the reserved ones', () => {
    const registry = registryWith({ enforceNamespaces: false });
    const { token, record } = issueToken({ kind: 'service', name: 's', namespaces: ['a'] }, now);
    registry.replace([record]);
    const caller = registry.authenticate(bearer(token));
    expect([mayAccess(caller, 'b', 'write'), mayAccess(caller, '_sys', 'read')]).toEqual([true, false]);
  });

  test("an open door gives the plane's own privilege and no other", () => {
    expect(openDoor('evaluation').authenticate(undefined).kind).toBe('application');
    expect(openDoor('data').authenticate('Bearer x').kind).toBe('service');
  });
});

describe('the token store in a file', () => {
  test('keeps hashes and no tokens, readable by its owner alone', async () => {
    const path = join(folder, 'keys', 'tokens.json');
    const store = fileTokenStore(path);
    expect(await store.list()).toEqual([]);
    const { token, record } = issueToken({ kind: 'admin', name: 'a' }, now);
    await store.put(record);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const text = await readFile(path, 'utf8');
    expect(text).toContain(hashToken(token));
    expect(text).not.toContain(token);
    expect(await fileTokenStore(path).list()).toEqual([record]);
    expect([await store.remove(record.id), await store.remove(record.id)]).toEqual([true, false]);
  });

  test('changes made at once are all kept', async () => {
    const store = fileTokenStore(join(folder, 'tokens.json'));
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => store.put(issueToken({ kind: 'service', name: `s${i}` }, now).record)),
    );
    expect(await store.list()).toHaveLength(20);
  });

  test('a damaged file is reported and left alone', async () => {
    const path = join(folder, 'tokens.json');
    await writeFile(path, '{"format":1,');
    await expect(fileTokenStore(path).list()).rejects.toMatchObject({ reason: 'corrupt' });
    await expect(fileTokenStore(path).put(issueToken({ kind: 'admin', name: 'a' }, now).record)).rejects.toMatchObject({
      reason: 'corrupt',
    });
    expect(await readFile(path, 'utf8')).toBe('{"format":1,');
  });
});

describe('credentials.json', () => {
  test('is written once, with mode 0600 and a working token of each kind', async () => {
    const path = join(folder, 'credentials.json');
    const store = memoryTokenStore();
    expect(await ensureCredentials(path, store, now, true)).toBe(true);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const credentials = await readCredentials(path);
    const registry = registryWith();
    registry.replace(await store.list());
    for (const kind of ['admin', 'service', 'application'] as const)
      expect(registry.authenticate(bearer(credentials![kind])).kind).toBe(kind);
    await rm(path);
    expect(await ensureCredentials(path, store, now, false)).toBe(false);
    expect(await readCredentials(path)).toBeUndefined();
  });

  test('is taken over when the first start ended before the hashes were kept', async () => {
    const path = join(folder, 'credentials.json');
    await ensureCredentials(path, memoryTokenStore(), now, true);
    const store = memoryTokenStore();
    expect(await ensureCredentials(path, store, now, false)).toBe(false);
    const registry = registryWith();
    registry.replace(await store.list());
    expect(registry.authenticate(bearer((await readCredentials(path))!.admin)).kind).toBe('admin');
  });
});

describe('token methods', () => {
  const context = {} as CallContext;
  const setUp = async (tokens?: string) => {
    const registry = registryWith();
    const manager = await TokenManager.open({
      store: memoryTokenStore(),
      registry,
      nowSeconds: () => now,
      ...(tokens === undefined ? {} : { folder: tokens }),
    });
    const handlers = tokenHandlers(
      () => manager,
      () => now,
    );
    // biome-ignore lint/suspicious/noExplicitAny: results of every shape
    const call = async (method: string, params: unknown = {}): Promise<any> => handlers[method]!(params, context);
    return { registry, manager, call };
  };

  test('a token is created, listed without its hash, and revoked by a prefix of its id', async () => {
    const { registry, call } = await setUp();
    const created = await call('token-create', {
      kind: 'service',
      name: 'deploy',
      namespaces: ['approvals.*'],
      verbs: ['write'],
      ttl: 60,
    });
    expect(created).toMatchObject({
      kind: 'service',
      name: 'deploy',
      namespaces: ['approvals'],
      verbs: ['write'],
      expires_at: 1060,
    });
    expect(registry.authenticate(bearer(created.token)).name).toBe('deploy');
    const { tokens } = await call('token-list');
    expect(tokens).toEqual([expect.not.objectContaining({ hash: expect.anything(), token: expect.anything() })]);
    expect(await call('token-revoke', { id: created.id.slice(0, 6) })).toMatchObject({ id: created.id, revoked: true });
    expect(() => registry.authenticate(bearer(created.token))).toThrow(/revoked/);
    await expect(call('token-revoke', { id: created.id })).rejects.toMatchObject({ reason: 'not_found' });
  });

  test.each([
    [{}, 'kind'],
    [{ kind: 'root', name: 'a' }, 'kind'],
    [{ kind: 'admin' }, 'name'],
    [{ kind: 'admin', name: '' }, 'name'],
    [{ kind: 'admin', name: 'a\nb' }, 'name'],
    [{ kind: 'admin', name: 'a', namespaces: ['x'] }, 'namespaces'],
    [{ kind: 'service', name: 'a', namespaces: ['_sys'] }, 'namespaces'],
    [{ kind: 'service', name: 'a', verbs: ['delete'] }, 'verbs'],
    [{ kind: 'application', name: 'a', grants: ['all'] }, 'grants'],
    [{ kind: 'admin', name: 'a', ttl: 0 }, 'ttl'],
    [{ kind: 'admin', name: 'a', ttl: 1, expires_at: 2000 }, 'ttl'],
    [{ kind: 'admin', name: 'a', expires_at: 999 }, 'expires_at'],
    [{ kind: 'admin', name: 'a', nmae: 1 }, 'nmae'],
  ])('%j is refused, naming the field', (params, field) => {
    expect(() => readTokenGrant(params, now)).toThrow(
      expect.objectContaining({ reason: 'invalid_params', details: expect.objectContaining({ field }) }),
    );
  });

  test('a folder of token files is taken in, and a file that is gone revokes', async () => {
    const token = 'a-token-of-our-own-0123456789';
    await writeFile(join(folder, 'deploy.token'), `${token}\n`);
    const { registry, manager, call } = await setUp(folder);
    expect(registry.authenticate(bearer(token))).toMatchObject({ kind: 'service', name: 'deploy' });
    const { tokens } = await call('token-list');
    await expect(call('token-revoke', { id: tokens[0].id })).rejects.toMatchObject({ reason: 'conflict' });
    await rm(join(folder, 'deploy.token'));
    await manager.reload();
    expect(() => registry.authenticate(bearer(token))).toThrow(/revoked/);
    const other = 'another-token-of-ours-0123456789';
    await writeFile(join(folder, 'deploy.token'), token);
    await writeFile(join(folder, 'other'), other);
    await manager.reload();
    await rm(join(folder, 'deploy.token'));
    await writeFile(join(folder, 'short'), 'x');
    await expect(manager.reload()).rejects.toMatchObject({
      reason: 'invalid_params',
      message: expect.stringContaining(join(folder, 'short')),
    });
    // A bad file keeps nothing from being revoked.
    expect(() => registry.authenticate(bearer(token))).toThrow(/revoked/);
    expect(registry.authenticate(bearer(other))).toMatchObject({ name: 'other' });
  });
});
