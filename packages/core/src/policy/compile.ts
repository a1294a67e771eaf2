import { canonicalJson, compareBytes, type Primitives } from '../bytes/index.ts';
import {
  type Problem as CelProblem,
  type CheckResult,
  checkExpression,
  type Declaration,
  defaultStepBudget,
  type Environment,
  type Expression,
  errorType,
  estimateCost,
  parseExpression,
  policyEnvironment,
  type Type,
  typeName,
} from './cel/index.ts';
import { type PolicyDocument, type ReadDocument, readPolicyDocument } from './document.ts';
import { languageVersion } from './language.ts';
import { hasErrors, type Problem, sortProblems } from './problem.ts';
import { encodeProgram, type PolicyProgram } from './program.ts';
import type { Text } from './shape.ts';

/** A compiled policy: the files that the tree stores, and what a reader of the document may want to know. */
export interface CompiledPolicy {
  /** The text as given, in UTF-8. */
  readonly source: Uint8Array;
  /** Canonical compiled form. */
  readonly program: Uint8Array;
  /** Canonical JSON: language version and the data namespaces read, sorted. */
  readonly manifest: Uint8Array;
  readonly document: PolicyDocument;
  readonly warnings: readonly Problem[];
}

export type CompileResult =
  | { readonly ok: true; readonly compiled: CompiledPolicy }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export interface CompilePolicyOptions {
  readonly primitives: Primitives;
  /** Steps that all expressions of the policy may take together, as estimated; default `estimatedStepsMax`. */
  readonly stepsMax?: number;
}

/**
 * Twice what one evaluation may take: the estimate assumes a hundred elements of every list at once, which facts seldom
 * have. So a loop in a loop over facts may be written and three in one another may not; the budget of the evaluation
 * itself is what protects the node.
 */
export const estimatedStepsMax = 2 * defaultStepBudget;

/**
 * Compiles a policy document. A function of the text alone: the same bytes on every machine.
 *
 * Every problem of form, syntax, type and cost is told at once, in document order, where it stands in the file. Never
 * throws and changes nothing.
 *
 * @example
 * const result = compilePolicy('validations: [{expression: subject.id == resource.properties.owner}]', { primitives });
 * if (!result.ok) console.error(result.problems.map((p) => renderProblem(p, 'owner.policy.yaml')).join('\n'));
 */
export function compilePolicy(text: string, options: CompilePolicyOptions): CompileResult {
  const read = readPolicyDocument(text);
  const checker = new PolicyChecker(read, options.stepsMax ?? estimatedStepsMax);
  const program = checker.program();
  const problems = sortProblems(read.source.problems);
  const { document } = read;
  if (program === undefined || document === undefined || hasErrors(problems)) return { ok: false, problems };
  const { primitives } = options;
  const manifest = canonicalJson({ language: languageVersion, namespaces: program.namespaces });
  return {
    ok: true,
    compiled: {
      source: primitives.utf8Encode(text),
      program: encodeProgram(program, primitives),
      manifest: primitives.utf8Encode(manifest),
      document,
      warnings: problems,
    },
  };
}

/** Whether `program` and `manifest` are what compiling `source` gives: how a policy received from a peer is accepted. */
export function isCompiledFrom(
  files: { readonly source: Uint8Array; readonly program: Uint8Array; readonly manifest: Uint8Array },
  primitives: Primitives,
): boolean {
  let text: string;
  try {
    text = primitives.utf8Decode(files.source);
  } catch {
    return false;
  }
  const result = compilePolicy(text, { primitives });
  if (!result.ok) return false;
  const { program, manifest } = result.compiled;
  return compareBytes(program, files.program) === 0 && compareBytes(manifest, files.manifest) === 0;
}

interface Checked {
  readonly expression: Expression;
  readonly result: CheckResult;
}

/** Parses and checks the expressions of one document, in the order in which they may refer to each other. */
class PolicyChecker {
  readonly #read: ReadDocument;
  readonly #stepsMax: number;
  readonly #namespaces = new Set<string>();
  readonly #usedVariables = new Set<string>();
  #steps = 0;

  constructor(read: ReadDocument, stepsMax: number) {
    this.#read = read;
    this.#stepsMax = stepsMax;
  }

  /** The program, or undefined where any expression is wrong. */
  program(): PolicyProgram | undefined {
    const { places, document, params } = this.#read;
    const declared: Declaration[] = [];
    const variables = places.variables.map((text, i) => {
      const checked = this.#check(text, this.#environment(declared, i), undefined);
      declared.push({ name: this.#read.variableNames[i]!, type: checked?.result.type ?? errorType });
      return checked;
    });
    const env = this.#environment(declared, declared.length);
    const conditions = places.matchConditions.map((text) => this.#check(text, env, 'bool'));
    const validations = places.validations.map(({ expression, messageExpression }) => ({
      expression: this.#check(expression, env, 'bool'),
      messageExpression: messageExpression && this.#check(messageExpression, env, 'string'),
    }));
    this.#reportCost();
    this.#reportUnused();
    if (document === undefined || hasErrors(this.#read.source.problems)) return undefined;
    return {
      matchConditions: document.matchConditions.map(({ name }, i) => ({
        ...(name === undefined ? {} : { name }),
        expression: conditions[i]!.expression,
      })),
      variables: document.variables.map(({ name }, i) => ({ name, expression: variables[i]!.expression })),
      validations: document.validations.map(({ message, reason }, i) => ({
        expression: validations[i]!.expression!.expression,
        ...(message === undefined ? {} : { message }),
        ...(validations[i]!.messageExpression === undefined
          ? {}
          : { messageExpression: validations[i]!.messageExpression!.expression }),
        ...(reason === undefined ? {} : { reason }),
      })),
      params,
      validationActions: document.validationActions,
      failurePolicy: document.failurePolicy,
      namespaces: [...this.#namespaces].sort(),
    };
  }

  #environment(declared: readonly Declaration[], count: number): Environment {
    return policyEnvironment({
      params: this.#read.params,
      variables: declared.slice(0, count),
      laterVariables: this.#read.variableNames.slice(count),
    });
  }

  #check(text: Text, env: Environment, expected: 'bool' | 'string' | undefined): Checked | undefined {
    const parsed = parseExpression(text.value);
    if (!parsed.ok) {
      for (const problem of parsed.problems) this.#report(text, problem);
      return undefined;
    }
    const { expression } = parsed;
    const result = checkExpression(expression, env);
    for (const problem of result.problems) this.#report(text, problem);
    for (const namespace of result.references.namespaces) this.#namespaces.add(namespace);
    for (const name of result.references.variables) this.#usedVariables.add(name);
    if (result.problems.length > 0) return undefined;
    if (expected !== undefined && !couldBe(result.type, expected)) {
      this.#read.source.reportInside(text.node, 0, text.value.trimEnd().length, {
        severity: 'error',
        code: 'cel_wrong_type',
        message: `expected an expression that gives ${expected}, got ${typeName(result.type)}`,
      });
      return undefined;
    }
    this.#steps += estimateCost(expression, env).max;
    return { expression, result };
  }

  #report(text: Text, problem: CelProblem): void {
    const { source } = this.#read;
    const start = problem.span?.offset ?? 0;
    const end = problem.span === null ? text.value.trimEnd().length : start + Math.max(1, problem.span.length);
    const hint =
      problem.nearest === null ? cutShortHint(text, source.text, problem) : `did you mean \`${problem.nearest}\`?`;
    source.reportInside(text.node, start, end, {
      severity: 'error',
      code: `cel_${problem.code}`,
      message: problem.message,
      ...(hint === undefined ? {} : { hint }),
    });
  }

  #reportCost(): void {
    if (this.#steps <= this.#stepsMax) return;
    const { source } = this.#read;
    const most = `${Math.round(this.#steps)} steps`;
    source.reportAt(
      source.root,
      'cel_too_costly',
      `evaluating this policy could take ${most}, more than ${this.#stepsMax}`,
      'nested loops over lists multiply; filter into a variable first, or look facts up by key',
    );
  }

  #reportUnused(): void {
    const { source, places, variableNames } = this.#read;
    if (hasErrors(source.problems)) return;
    for (const [i, name] of variableNames.entries())
      if (!this.#usedVariables.has(name))
        source.reportAt(
          places.variables[i]!.node as Parameters<typeof source.reportAt>[0],
          'unused_variable',
          `variable \`${name}\` is never read`,
          undefined,
          'warning',
        );
  }
}

function couldBe(type: Type, expected: 'bool' | 'string'): boolean {
  return type.kind === expected || type.kind === 'dyn' || type.kind === 'error';
}

/** A plain YAML scalar ends at ` #`, and inside `{…}` at a comma: the usual reasons why an expression breaks off. */
function cutShortHint(text: Text, source: string, problem: CelProblem): string | undefined {
  if (problem.code !== 'syntax' || text.node.type !== 'PLAIN') return undefined;
  const after = source.slice(text.node.range?.[1] ?? source.length).split('\n', 1)[0]!;
  if (/^\s+#/.test(after)) return 'what follows ` #` is a YAML comment; put the expression in quotes';
  if (/^\s*,/.test(after)) return 'inside `{…}` a comma ends the text; put the expression in quotes';
  return undefined;
}
