import {
  CelError,
  children,
  type Expression,
  formatNode,
  type Json,
  type Node,
  type ObservedPolicy,
  type Observer,
  type Program,
  toJson,
  Unknowns,
} from '../policy/index.ts';
import type { Outcome, PolicyAt } from './decide.ts';
import type { PolicyVerdict } from './policy-outcome.ts';

/** A policy planned to be explained, at a place of the tree. */
export interface ObservedPolicyAt extends PolicyAt {
  readonly planned: ObservedPolicy;
}

/** What an expression gave: a value, or an error; neither where it was not evaluated. */
export interface Explained {
  /** The expression as CEL. */
  readonly expression: string;
  readonly value?: Json;
  readonly error?: string;
}

export interface ExplainedExpression extends Explained {
  /** Where it stands, such as `validations[0]`. */
  readonly label: string;
  /** False where nothing needed it: a variable never read, a condition after one that was false. */
  readonly evaluated: boolean;
  /** The parts of the expression that depend on something, outermost first; of a loop's body the last value. */
  readonly parts: readonly Explained[];
}

export interface ExplainedPolicy {
  readonly path: string;
  readonly outcome: PolicyVerdict;
  readonly matchConditions: readonly ExplainedExpression[];
  readonly variables: readonly ExplainedExpression[];
  readonly validations: readonly ExplainedExpression[];
}

export interface Explanation {
  readonly policies: readonly ExplainedPolicy[];
}

/** Items of one value shown, and parts of one expression. */
const itemsMax = 50;
const partsMax = 100;
const textLengthMax = 1_000;

/**
 * Keeps what every node of every program gave, while policies planned by `planObservedPolicy` are decided.
 *
 * @example
 * const collector = new ExplanationCollector();
 * const outcome = await decide({ policies, request, facts, now, observer: collector });
 * const { policies: explained } = collector.explain(policies, outcome);
 */
export class ExplanationCollector implements Observer {
  readonly #values = new Map<Program, unknown[]>();

  /** Values of a pass that met cold facts are overwritten by the pass that counts. */
  node(program: Program, nodeId: number, value: unknown): void {
    let values = this.#values.get(program);
    if (values === undefined) {
      values = [];
      this.#values.set(program, values);
    }
    values[nodeId] = value;
  }

  /** How each policy came to its part of `outcome`. */
  explain(policies: readonly ObservedPolicyAt[], outcome: Outcome): Explanation {
    const verdicts = new Map(outcome.applied.map(({ path, outcome: verdict }) => [path, verdict]));
    return {
      policies: policies.map(({ path, planned }) => ({
        path,
        outcome: verdicts.get(path) ?? 'not_applicable',
        matchConditions: planned.matchConditions.map(({ program }) => this.#expression(planned, program)),
        variables: planned.variables.map((program) => this.#expression(planned, program)),
        validations: planned.validations.flatMap(({ program, messageProgram }) => [
          this.#expression(planned, program),
          ...(messageProgram === null ? [] : [this.#expression(planned, messageProgram)]),
        ]),
      })),
    };
  }

  #expression(planned: ObservedPolicy, program: Program): ExplainedExpression {
    const expression = planned.expressions.get(program) as Expression;
    const values = this.#values.get(program);
    const label = program.label;
    const text = formatNode(expression.root);
    if (values === undefined) return { label, expression: text, evaluated: false, parts: [] };
    const parts: Explained[] = [];
    for (const part of children(expression.root)) collect(part, values, parts);
    return { label, expression: text, evaluated: true, ...given(values[expression.root.id]), parts };
  }
}

function collect(node: Node, values: readonly unknown[], parts: Explained[]): void {
  if (parts.length >= partsMax || node.kind === 'literal') return;
  // Names of roots say nothing by themselves; what is selected from them does.
  if (node.kind !== 'ident' && node.id in values)
    parts.push({ expression: formatNode(node), ...given(values[node.id]) });
  if (node.kind === 'select' && isPath(node.operand)) return;
  for (const part of children(node)) collect(part, values, parts);
}

/** A chain of selections from a name: shown once, by its end. */
function isPath(node: Node): boolean {
  return node.kind === 'ident' || (node.kind === 'select' && isPath(node.operand));
}

function given(value: unknown): { value?: Json; error?: string } {
  if (value instanceof CelError) return { error: value.message };
  if (value === undefined || value instanceof Unknowns) return {};
  if (typeof value === 'string' && value.length > textLengthMax) return { value: `${value.slice(0, textLengthMax)}…` };
  return { value: toJson(value, itemsMax) };
}
