import type { Scalar } from 'yaml';
import { isScalar } from 'yaml';
import { isJsonObject, type Json } from './json.ts';
import { hasErrors, type Problem, sortProblems } from './problem.ts';
import { type EvaluationRequest, readRequest } from './request.ts';
import { type Field, ShapeReader, shorten, type Text } from './shape.ts';
import { parseTimestamp } from './timestamp.ts';
import { type YamlNode, YamlSource } from './yaml-source.ts';

/** Answers a policy or directory can give. */
export const decisions = ['allow', 'deny', 'not_applicable'] as const;
export type Decision = (typeof decisions)[number];

/** The tests of a policy, defaults of the document filled into each. */
export interface TestDocument {
  readonly description?: string;
  readonly tests: readonly PolicyTest[];
}

/** One test: a question, the facts it is asked against, and the answer expected. */
export interface PolicyTest {
  readonly name: string;
  /** Line of the test in its file, from 1. */
  readonly line: number;
  /** Policy or directory asked; absent: the policy that the tests stand beside. */
  readonly path?: string;
  readonly request: EvaluationRequest;
  /** Unix seconds; 0 (1970-01-01T00:00:00Z) unless the document says otherwise, because tests have no clock. */
  readonly now: number;
  /** Every fact there is, by full key. */
  readonly data: ReadonlyMap<string, Json>;
  /** What `staleness_ms.<namespace>` is; 0 for any other namespace. */
  readonly stalenessMs: ReadonlyMap<string, number>;
  readonly expect: Expectation;
}

export interface Expectation {
  readonly decision: Decision;
  /** Exactly these reasons, each named once, in any order; absent: not compared. */
  readonly reasons?: readonly string[];
  /** Exactly these reasons among the warnings; absent: not compared. */
  readonly warnings?: readonly string[];
}

export const testDocumentFields = ['description', 'path', 'now', 'data', 'staleness_ms', 'request', 'tests'] as const;
export const testFields = ['name', 'path', 'now', 'data', 'staleness_ms', 'request', 'expect'] as const;
export const expectFields = ['decision', 'reasons', 'warnings'] as const;

/** Keys of the data plane: a namespace and at least one segment more. */
export const factKeyPattern = /^[a-z][a-z0-9_-]{0,63}(?:\.[^.\s*\p{Cc}]+)+$/u;
/** Policy paths; the root directory is the empty path and cannot be written here. */
export const policyPathPattern = /^[a-z0-9][a-z0-9_-]{0,63}(?:\.[a-z0-9][a-z0-9_-]{0,63})*$/;
export const namespacePattern = /^[a-z][a-z0-9_-]{0,63}$/;

/** What a test takes from its document where it says nothing itself. */
interface Settings {
  readonly path: string | undefined;
  readonly now: number;
  readonly data: ReadonlyMap<string, Json>;
  readonly stalenessMs: ReadonlyMap<string, number>;
  readonly request: EvaluationRequest | undefined;
  /** Whether a request was written at all, right or wrong: a wrong one is not also reported as missing. */
  readonly requestGiven: boolean;
}

/**
 * The tests of a `*.test.yaml` text.
 *
 * A test's `request` replaces the document's whole; `data` merges into it by key, and null removes a key. Unknown
 * fields and a document without tests are errors, because a test that does not run must not look like one that passed.
 *
 * @returns the tests, or undefined and the errors, all of them at once, in document order
 */
export function parseTestDocument(text: string): { document?: TestDocument; problems: readonly Problem[] } {
  const source = new YamlSource(text);
  const document = source.wellFormed ? new TestReader(source).document() : undefined;
  const problems = sortProblems(source.problems);
  return document === undefined || hasErrors(problems) ? { problems } : { document, problems };
}

class TestReader {
  readonly #source: YamlSource;
  readonly #reader: ShapeReader;

  constructor(source: YamlSource) {
    this.#source = source;
    this.#reader = new ShapeReader(source);
  }

  document(): TestDocument | undefined {
    const { root } = this.#source;
    if (root === null) {
      this.#source.report('empty', 'the document is empty', 0, 1, 'a test document has at least `tests`');
      return undefined;
    }
    const fields = this.#reader.mapping(root, 'a test document', testDocumentFields);
    if (fields === undefined) return undefined;
    const description = fields.description && this.#reader.text(fields.description.value, 'the description');
    const settings = this.#settings(fields, {
      path: undefined,
      now: 0,
      data: new Map(),
      stalenessMs: new Map(),
      request: undefined,
      requestGiven: false,
    });
    if (fields.tests === undefined) this.#reader.missing(root, 'a test document', 'tests');
    const items = fields.tests === undefined ? undefined : this.#reader.list(fields.tests.value, '`tests`');
    if (items !== undefined && items.length === 0)
      this.#source.reportAt(fields.tests!.key, 'empty', 'the document has no tests');
    const names = new Set<string>();
    const tests = (items ?? []).map((item) => this.#test(item, settings, names));
    return {
      ...(description === undefined ? {} : { description: description.value }),
      tests: tests.filter((test) => test !== undefined),
    };
  }

  #test(item: YamlNode, settings: Settings, names: Set<string>): PolicyTest | undefined {
    const fields = this.#reader.mapping(item, 'a test', testFields);
    if (fields === undefined) return undefined;
    if (fields.name === undefined) this.#reader.missing(item, 'a test', 'name');
    const name = fields.name && this.#reader.text(fields.name.value, 'the name of the test');
    if (name !== undefined && names.has(name.value))
      this.#at(name, 'duplicate', `a test named \`${shorten(name.value)}\` stands above`);
    if (name !== undefined) names.add(name.value);
    const own = this.#settings(fields, settings);
    if (fields.expect === undefined)
      this.#reader.missing(item, 'a test', 'expect', 'such as `expect: {decision: allow}`');
    const expect = fields.expect && this.#expectation(fields.expect.value);
    if (!own.requestGiven)
      this.#reader.missing(item, 'a test', 'request', 'or give one `request` to the whole document');
    if (name === undefined || expect === undefined || own.request === undefined) return undefined;
    const { path, request, now, data, stalenessMs } = own;
    const { line } = this.#source.place(item?.range?.[0] ?? 0, 0);
    return { name: name.value, line, ...(path === undefined ? {} : { path }), now, data, stalenessMs, request, expect };
  }

  #settings(
    fields: { readonly [F in 'path' | 'now' | 'data' | 'staleness_ms' | 'request']?: Field },
    base: Settings,
  ): Settings {
    return {
      path: (fields.path && this.#path(fields.path.value)) ?? base.path,
      now: (fields.now && this.#now(fields.now.value)) ?? base.now,
      data: fields.data === undefined ? base.data : this.#data(fields.data, base.data),
      stalenessMs:
        fields.staleness_ms === undefined ? base.stalenessMs : this.#staleness(fields.staleness_ms, base.stalenessMs),
      request: fields.request === undefined ? base.request : this.#request(fields.request.value),
      requestGiven: base.requestGiven || fields.request !== undefined,
    };
  }

  #path(node: YamlNode): string | undefined {
    const text = this.#reader.text(node, 'a policy path');
    if (text === undefined || policyPathPattern.test(text.value)) return text?.value;
    this.#at(
      text,
      'wrong_value',
      `\`${shorten(text.value)}\` is no policy path`,
      'segments of `a-z`, `0-9`, `_`, `-`, joined by `.`',
    );
    return undefined;
  }

  #now(node: YamlNode): number | undefined {
    const target = this.#source.follow(node);
    const value: unknown = isScalar(target) ? target.value : undefined;
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    const seconds = typeof value === 'string' ? parseTimestamp(value) : undefined;
    if (seconds === undefined)
      this.#source.reportAt(node, 'wrong_type', 'expected a time', 'such as `2026-01-01T00:00:00Z`, or Unix seconds');
    return seconds;
  }

  #data(field: Field, base: ReadonlyMap<string, Json>): ReadonlyMap<string, Json> {
    const merged = new Map(base);
    this.#members(field, '`data`, facts by key', (key, node, value) => {
      if (!factKeyPattern.test(key) || key.length > 512)
        this.#source.reportAt(
          node,
          'wrong_value',
          `\`${shorten(key)}\` is no key of a fact`,
          'a key is `<namespace>.<key>`, such as `approvals.d1`',
        );
      else if (value === null) merged.delete(key);
      else merged.set(key, value);
    });
    return merged;
  }

  #staleness(field: Field, base: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
    const merged = new Map(base);
    this.#members(field, '`staleness_ms`, milliseconds by namespace', (namespace, node, value) => {
      if (!namespacePattern.test(namespace))
        this.#source.reportAt(node, 'wrong_value', `\`${shorten(namespace)}\` is no namespace`);
      else if (typeof value !== 'number' || value < 0)
        this.#source.reportAt(node, 'wrong_type', 'expected milliseconds, zero or more');
      else merged.set(namespace, value);
    });
    return merged;
  }

  #members(field: Field, what: string, visit: (key: string, node: YamlNode, value: Json) => void): void {
    const target = this.#source.follow(field.value);
    const object = this.#reader.object(field.value, what);
    if (object === undefined || target === null || !('items' in target)) return;
    for (const { key } of target.items as { key: YamlNode }[]) {
      const name = isScalar(key) && typeof key.value === 'string' ? key.value : undefined;
      if (name !== undefined && Object.hasOwn(object, name)) visit(name, key, object[name]!);
    }
  }

  #request(node: YamlNode): EvaluationRequest | undefined {
    const value = this.#reader.object(node, 'a request');
    if (value === undefined) return undefined;
    for (const name of Object.keys(value))
      if (!requestFields.includes(name)) this.#unknownRequestField(node, name, requestFields, 'a request');
    for (const [part, members] of Object.entries(entityFields)) {
      const entity = value[part];
      if (!isJsonObject(entity)) continue;
      for (const name of Object.keys(entity))
        if (!members.includes(name))
          this.#unknownRequestField(node, name, members, `\`${part}\``, 'other attributes go into `properties`');
    }
    const read = readRequest(value);
    if (read.ok) return read.request;
    this.#source.reportAt(this.#source.follow(node), 'wrong_request', read.problem.message);
    return undefined;
  }

  /** Applications may send more than the standard names; in a test an unknown member is a mistake. */
  #unknownRequestField(node: YamlNode, name: string, known: readonly string[], what: string, hint?: string): void {
    const text = `${what} has no field \`${shorten(name)}\``;
    this.#source.reportAt(
      this.#source.follow(node),
      'unknown_field',
      text,
      hint ?? `it has ${known.map((k) => `\`${k}\``).join(', ')}`,
    );
  }

  #expectation(node: YamlNode): Expectation | undefined {
    const fields = this.#reader.mapping(node, '`expect`', expectFields);
    if (fields === undefined) return undefined;
    if (fields.decision === undefined) this.#reader.missing(node, '`expect`', 'decision');
    const decision = fields.decision && this.#reader.word(fields.decision.value, '`decision`', decisions);
    const reasons = fields.reasons && this.#words(fields.reasons, 'reasons');
    const warnings = fields.warnings && this.#words(fields.warnings, 'warnings');
    if (decision === undefined) return undefined;
    if (decision !== 'deny' && reasons !== undefined && reasons.length > 0)
      this.#source.reportAt(
        fields.reasons!.key,
        'wrong_value',
        `only a denial has reasons, and the test expects \`${decision}\``,
      );
    return { decision, ...(reasons === undefined ? {} : { reasons }), ...(warnings === undefined ? {} : { warnings }) };
  }

  #words(field: Field, name: string): readonly string[] | undefined {
    const texts = this.#reader.list(field.value, `\`${name}\``)?.map((item) => this.#reader.text(item, 'a reason'));
    return texts?.filter((text) => text !== undefined).map((text) => text.value);
  }

  #at(text: Text, code: string, message: string, hint?: string): void {
    this.#source.reportAt(text.node as Scalar.Parsed, code, message, hint);
  }
}

const requestFields: readonly string[] = ['subject', 'action', 'resource', 'context'];
const entityFields: { readonly [part: string]: readonly string[] } = {
  subject: ['type', 'id', 'properties'],
  action: ['name', 'properties'],
  resource: ['type', 'id', 'properties'],
};
