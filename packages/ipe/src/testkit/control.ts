import { openMemoryKv } from '@ipe/core/store';
import { openPolicyStore, type PolicyFamily, type PolicyStore, policyFamilies } from '@ipe/core/tree';
import type { CallContext, Caller, Session } from '../api/method.ts';
import { type ControlService, createControlService } from '../control/service.ts';
import { openTransfers } from '../control/transfers.ts';
import { createUpkeep, type Upkeep } from '../control/upkeep.ts';
import { storeJobs } from '../control/upkeep-methods.ts';
import { createGit } from '../gitops/git/index.ts';
import { type MirrorRegistry, openMirrorRegistry, type StateText } from '../gitops/mirrors.ts';
import { createSyncEngine, type SyncEngine } from '../gitops/sync.ts';
import { createAskedPathsIndex } from '../policies/asked-paths.ts';
import { createPolicyCompiler } from '../policies/compiler.ts';
import { createDependentTests } from '../policies/dependent-tests.ts';
import type { CompiledPolicy, PolicyCompiler, PolicyText } from '../policies/types.ts';
import { nodePrimitives, zlibCodec } from '../repository/primitives.ts';

/** A control plane in memory, with a scripted compiler and a clock that counts. */
export interface ControlFixture {
  readonly store: PolicyStore;
  readonly compiler: PolicyCompiler;
  readonly registry: MirrorRegistry;
  readonly sync: SyncEngine;
  readonly service: ControlService;
  readonly upkeep: Upkeep;
  /** Calls a method as `ada`, an admin; the answer is any JSON. */
  call(method: string, params?: unknown, context?: Partial<CallContext>): Promise<Answer>;
  close(): Promise<void>;
}

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into field by field, and compared.
export type Answer = any;

export const adminCaller: Caller = { kind: 'admin', tokenId: 't1', name: 'ada' };

export interface ControlFixtureOptions {
  /** Folder for mirrors and transfers; without one there is neither. */
  readonly stateDir?: string;
  readonly state?: StateText;
  readonly compiler?: PolicyCompiler;
}

export async function controlFixture(options: ControlFixtureOptions = {}): Promise<ControlFixture> {
  let nowMs = 1_700_000_000_000;
  let ids = 0;
  const clock = () => (nowMs += 1000);
  const newId = () => `id${++ids}`;
  const kv = openMemoryKv<PolicyFamily>({ families: policyFamilies });
  const store = await openPolicyStore({ kv, primitives: nodePrimitives, codec: zlibCodec, now: () => nowMs });
  await store.ready();
  const compiler = options.compiler ?? scriptedCompiler();
  const registry = await openMirrorRegistry(options.state ?? memoryState());
  const stateDir = options.stateDir;
  const dependents = createDependentTests({
    compiler,
    index: createAskedPathsIndex({ store, state: memoryState(), onError: () => {} }),
    store,
  });
  const sync = createSyncEngine({
    store,
    compiler,
    dependents,
    registry,
    clock,
    newId,
    baseDir: '/',
    mirrorsDir: `${stateDir ?? '/nonexistent'}/mirrors`,
    git: createGit({ stateDir: stateDir ?? '/nonexistent', environment: process.env }),
  });
  const upkeep = createUpkeep({
    jobs: storeJobs({ store, registry, clock, retentionMs: 0, pause: async () => {} }),
    state: memoryState(),
    clock,
    timer: () => () => {},
    random: () => 0.5,
  });
  const service = createControlService({
    store,
    compiler,
    dependents,
    upkeep,
    clock,
    newId,
    version: '0.0.0',
    instance: 'test',
    ...(stateDir !== undefined && {
      gitops: { registry, sync, baseDir: '/' },
      transfers: await openTransfers({ directory: `${stateDir}/transfers`, newId, clock, pieceBytes: 1000 }),
    }),
  });
  return {
    store,
    compiler,
    registry,
    sync,
    service,
    upkeep,
    async call(method, params = {}, context = {}) {
      const handler = service.handlers[method];
      if (handler === undefined) throw new Error(`no method ${method}`);
      return handler(params, { caller: adminCaller, signal: new AbortController().signal, ...context });
    },
    async close() {
      service.close();
      await upkeep.stop();
      await compiler.close();
      await store.close();
      await kv.close();
    },
  };
}

export function memoryState(): StateText {
  let text: string | undefined;
  return {
    load: async () => text,
    save: async (next) => {
      text = next;
    },
  };
}

/**
 * Compiles by script: a source line `error: MESSAGE` is a problem and `warning: MESSAGE` a warning; each line of a test
 * document is a test, which passes where the source contains it.
 */
export function compileScript(text: PolicyText): CompiledPolicy {
  const file = text.sourceFile ?? `${text.path}.policy.yaml`;
  const problems = text.source.split('\n').flatMap((line, index) => {
    const match = /^(error|warning): (.*)$/.exec(line);
    return match === null
      ? []
      : [
          {
            file,
            path: text.path,
            severity: match[1] as 'error' | 'warning',
            code: 'scripted',
            message: match[2]!,
            line: index + 1,
            column: 1,
          },
        ];
  });
  const tests = (text.test ?? '')
    .split('\n')
    .filter((line) => line !== '')
    .map((name) => ({
      path: text.path,
      file: text.testFile ?? `${text.path}.test.yaml`,
      name,
      passed: text.source.includes(name),
      ...(text.source.includes(name) ? {} : { message: 'expected allow, got deny' }),
    }));
  const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);
  const files = {
    source: bytes(text.source),
    program: bytes(JSON.stringify({ program: text.source })),
    manifest: bytes('{"language":1}'),
    ...(text.test !== undefined && { test: bytes(text.test) }),
  };
  const faulty = problems.some(({ severity }) => severity === 'error');
  return { path: text.path, problems, tests, ...(faulty ? {} : { files }) };
}

export function scriptedCompiler(): PolicyCompiler {
  return createPolicyCompiler({
    version: 'scripted/1',
    compileText: compileScript,
    testText: () => [],
    inlineMax: 1_000_000,
    workerFile: new URL('data:text/javascript,'),
  });
}

/** A session that keeps what it was sent. */
export function fakeSession(): Session & { readonly sent: { event: string; data: Answer }[]; end(): void } {
  const controller = new AbortController();
  const sent: { event: string; data: Answer }[] = [];
  return {
    sent,
    signal: controller.signal,
    end: () => controller.abort(),
    async notify(event, data) {
      sent.push({ event, data });
    },
  };
}
