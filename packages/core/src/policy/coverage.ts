import { children, formatNode, type Node, type Observer, type Program } from './cel/index.ts';
import type { ObservedPolicy } from './plan.ts';

/** What a part of an expression can come out as: `true` and `false` where it decides something, else `evaluated`. */
export type CoverageOutcome = 'true' | 'false' | 'evaluated';

/** A part of an expression with outcomes that never came about. */
export interface UncoveredPart {
  /** Path of the policy. */
  readonly path: string;
  /** Where the expression stands, such as `validations[0]`. */
  readonly expression: string;
  /** Node of the part within the expression; 1 is the whole. */
  readonly nodeId: number;
  /** The part as canonical CEL. */
  readonly text: string;
  readonly missing: readonly CoverageOutcome[];
}

export interface CoverageReport {
  /** Outcomes seen, of all there are. */
  readonly seen: number;
  readonly all: number;
  /** In policy order, then document order, outermost first. */
  readonly uncovered: readonly UncoveredPart[];
}

const sawTrue = 1;
const sawFalse = 2;
const sawAnything = 4;

/**
 * Remembers what every part of every expression came out as, while policies planned by `planObservedPolicy` are decided.
 *
 * Counted are: a condition as a whole, every operand of `&&` and `||`, the condition of `?:` and the test of a macro, each
 * true and false; any other expression (a variable, a message), evaluated. A part that only ever failed has no outcome.
 *
 * @example
 * const coverage = new CoverageCollector();
 * runTests(document, { path, policiesAt, observer: coverage });
 * coverage.report(policies).uncovered;
 */
export class CoverageCollector implements Observer {
  readonly #seen = new Map<Program, number[]>();

  node(program: Program, nodeId: number, value: unknown): void {
    let seen = this.#seen.get(program);
    if (seen === undefined) {
      seen = [];
      this.#seen.set(program, seen);
    }
    const outcome = value === true ? sawTrue : value === false ? sawFalse : 0;
    seen[nodeId] = (seen[nodeId] ?? 0) | outcome | sawAnything;
  }

  /** What came about so far of everything that these policies' expressions can come out as. */
  report(policies: readonly { readonly path: string; readonly planned: ObservedPolicy }[]): CoverageReport {
    let all = 0;
    let missed = 0;
    const uncovered: UncoveredPart[] = [];
    for (const { path, planned } of policies) {
      for (const { program, label, decides } of expressionsOf(planned)) {
        const root = planned.expressions.get(program)!.root;
        for (const { node, outcomes } of partsOf(root, decides)) {
          const missing = this.#missing(program, node.id, outcomes);
          all += outcomes.length;
          missed += missing.length;
          if (missing.length === 0) continue;
          uncovered.push({ path, expression: label, nodeId: node.id, text: formatNode(node), missing });
        }
      }
    }
    return { seen: all - missed, all, uncovered };
  }

  #missing(program: Program, nodeId: number, outcomes: readonly CoverageOutcome[]): readonly CoverageOutcome[] {
    const seen = this.#seen.get(program)?.[nodeId] ?? 0;
    const bits = { true: sawTrue, false: sawFalse, evaluated: sawAnything };
    return outcomes.filter((outcome) => (seen & bits[outcome]) === 0);
  }
}

interface Watched {
  readonly program: Program;
  readonly label: string;
  /** Whether its being true or false decides something. */
  readonly decides: boolean;
}

function expressionsOf(planned: ObservedPolicy): readonly Watched[] {
  return [
    ...planned.matchConditions.map(({ label, program }) => ({ program, label, decides: true })),
    ...planned.variables.map((program) => ({ program, label: program.label, decides: false })),
    ...planned.validations.flatMap(({ label, program, messageProgram }) => [
      { program, label, decides: true },
      ...(messageProgram === null ? [] : [{ program: messageProgram, label: messageProgram.label, decides: false }]),
    ]),
  ];
}

interface Part {
  readonly node: Node;
  readonly outcomes: readonly CoverageOutcome[];
}

const bothWays: readonly CoverageOutcome[] = ['true', 'false'];

function partsOf(root: Node, decides: boolean): readonly Part[] {
  const parts: Part[] = [{ node: root, outcomes: decides ? bothWays : ['evaluated'] }];
  const visit = (node: Node): void => {
    for (const decision of decisionsIn(node)) {
      // A chain inside a chain is told by its own operands.
      if (decision.kind !== 'literal' && !isChain(decision)) parts.push({ node: decision, outcomes: bothWays });
    }
    for (const part of children(node)) visit(part);
  };
  visit(root);
  return parts;
}

/** The children of a node whose being true or false decides what it does. */
function decisionsIn(node: Node): readonly Node[] {
  if (isChain(node)) return node.kind === 'call' ? node.args : [];
  if (node.kind === 'call' && node.fn === '_?_:_') return node.args.slice(0, 1);
  return node.kind === 'comprehension' && node.predicate !== null ? [node.predicate] : [];
}

function isChain(node: Node): boolean {
  return node.kind === 'call' && (node.fn === '_&&_' || node.fn === '_||_');
}
