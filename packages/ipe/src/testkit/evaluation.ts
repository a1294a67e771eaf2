import { type FactLookup, type Facts, factsFromMap } from '@ipe/core/eval';
import { compilePolicy, type Json, renderProblem } from '@ipe/core/policy';
import { openMemoryKv } from '@ipe/core/store';
import { type PolicyFamily, type PolicyFiles, type PolicyStore, policyFamilies } from '@ipe/core/tree';
import type { CallContext, Caller } from '../api/method.ts';
import {
  createEvaluationService,
  defaultEvaluationConfig,
  type EvaluationConfig,
  type EvaluationService,
  type EvaluationServiceOptions,
  type FactsSource,
} from '../evaluation/index.ts';
import { openPolicyRepository } from '../repository/open.ts';
import { nodePrimitives as primitives } from '../repository/primitives.ts';
import type { Answer } from './control.ts';

/** An evaluation plane in memory: real policies in a real tree, facts in a map, a clock that stands still. */
export interface EvaluationFixture {
  readonly store: PolicyStore;
  readonly facts: Map<string, Json>;
  readonly source: MapFacts;
  readonly service: EvaluationService;
  readonly nowMs: number;
  /** Puts policies (YAML by path) or removes them (null). */
  put(policies: Readonly<Record<string, string | null>>): Promise<void>;
  /** Calls a method as an application, unless `context` says otherwise; the answer is any JSON. */
  call(method: string, params?: unknown, context?: Partial<CallContext>): Promise<Answer>;
  /** Sends a JSON body to a REST route: status and body; errors as `{status: 0, error}`. */
  rest(path: string, body: unknown): Promise<{ status: number; body: Answer }>;
}

export const applicationCaller: Caller = { kind: 'application', tokenId: 'a1', name: 'shop' };

/** Facts out of a map that grows, some of them cold until loaded; counts views not released. */
export class MapFacts implements FactsSource {
  readonly cold = new Set<string>();
  openViews = 0;
  loads = 0;
  readonly #entries: ReadonlyMap<string, Json>;

  constructor(entries: ReadonlyMap<string, Json>) {
    this.#entries = entries;
  }

  open(): Facts {
    const entries = this.#entries;
    const loaded = new Set<string>();
    this.openViews++;
    return {
      ...factsFromMap(entries),
      lookup: (namespace, key): FactLookup => {
        const name = `${namespace}.${key}`;
        if (this.cold.has(name) && !loaded.has(name)) return { kind: 'cold' };
        const value = entries.get(name);
        return value === undefined ? { kind: 'absent' } : { kind: 'value', value, dots: [`n1.1.${name}`] };
      },
      load: async (keys) => {
        this.loads++;
        for (const { namespace, key } of keys) loaded.add(`${namespace}.${key}`);
      },
      release: () => {
        this.openViews--;
      },
    };
  }

  async freshAsOf(): Promise<void> {}

  async versions(namespace: string, key: string) {
    const name = `${namespace}.${key}`;
    const value = this.#entries.get(name);
    return value === undefined ? [] : [{ dots: [`n1.1.${name}`], value }];
  }

  async scan(namespace: string, after: string | undefined, limit: number) {
    const prefix = `${namespace}.`;
    const keys = [...this.#entries.keys()]
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length));
    const rest = keys.sort().filter((key) => after === undefined || key > after);
    const entries = rest.slice(0, limit).map((key) => ({ key, value: this.#entries.get(prefix + key)! }));
    return rest.length > limit ? { entries, next: entries.at(-1)!.key } : { entries };
  }
}

export interface EvaluationFixtureOptions {
  readonly policies?: Readonly<Record<string, string>>;
  readonly facts?: Iterable<readonly [string, Json]>;
  readonly config?: Partial<EvaluationConfig>;
  readonly service?: Partial<EvaluationServiceOptions>;
}

export async function evaluationFixture(options: EvaluationFixtureOptions = {}): Promise<EvaluationFixture> {
  const nowMs = 1_767_225_600_000;
  let ids = 0;
  const store = await openPolicyRepository(openMemoryKv<PolicyFamily>({ families: policyFamilies }));
  const facts = new Map<string, Json>(options.facts ?? []);
  const source = new MapFacts(facts);
  const service = createEvaluationService({
    policies: store,
    facts: source,
    primitives,
    clock: () => nowMs,
    monotonic: () => performance.now(),
    newId: () => `id${++ids}`,
    config: { ...defaultEvaluationConfig, ...options.config },
    version: '0.1.0',
    instance: 'test',
    ...options.service,
  });
  const put: EvaluationFixture['put'] = async (policies) => {
    await store.update({
      changes: Object.entries(policies).map(([path, text]) =>
        text === null ? { path, delete: true } : { path, files: compiled(path, text) },
      ),
      author: { name: 'ada', email: 'ada@ipe' },
      message: 'test',
      timeMs: nowMs,
    });
  };
  if (options.policies !== undefined) await put(options.policies);
  return {
    store,
    facts,
    source,
    service,
    nowMs,
    put,
    call: async (method, params, context) =>
      service.handlers[method]!(params, {
        caller: applicationCaller,
        signal: new AbortController().signal,
        ...context,
      }),
    rest: (path, body) => sendJson(service, path, body),
  };
}

async function sendJson(
  service: EvaluationService,
  path: string,
  body: unknown,
): Promise<{ status: number; body: Answer }> {
  const method = body === undefined ? 'GET' : 'POST';
  const route = service.routes?.find((each) => each.path === path && each.method === method);
  if (route === undefined) throw new Error(`no route ${method} ${path}`);
  const context = { caller: applicationCaller, signal: new AbortController().signal };
  const { status, body: answer } = await route.handle(
    {
      params: {},
      query: new URLSearchParams(),
      headers: { host: 'pdp.example.com' },
      body: new Uint8Array(),
      contentType: 'application/json',
      json: () => body,
      call: () => Promise.reject(new Error('not used by these routes')),
    },
    context,
  );
  return { status, body: answer };
}

/** Compiles a policy, or throws its problems as people see them. */
export function compiled(path: string, text: string): PolicyFiles {
  const result = compilePolicy(text, { primitives });
  if (result.ok) return result.compiled;
  throw new Error(result.problems.map((problem) => renderProblem(problem, path, text)).join('\n'));
}
