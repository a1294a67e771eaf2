import type { CallNode, ComprehensionNode, Expression, Node } from './ast.ts';
import type { Environment } from './environment.ts';
import { formOf } from './forms.ts';
import { patternSize } from './functions/pattern-size.ts';

/** What an evaluation may cost, in the steps that `Activation.stepsLeft` counts. */
export interface Cost {
  /** Steps at most, as long as what is met is as large as assumed. */
  readonly max: number;
}

/** Sizes assumed of what is known only at run time. */
export interface AssumedSizes {
  /** Elements of a list or map. */
  readonly items: number;
  /** Characters of a text, as a multiple of `items`. */
  readonly charactersPerItem: number;
}

/**
 * A hundred elements, a hundred characters: one loop over a fact's list costs hundreds of steps and a loop in a loop tens of thousands, which
 * the default budget allows; three loops in one another cost millions, which it does not. Larger lists still evaluate,
 * until the budget of the decision itself is spent.
 */
export const assumedSizes: AssumedSizes = { items: 100, charactersPerItem: 1 };

/**
 * Estimates the steps of an expression before it runs, so that one that would cost too much can be refused when it is
 * written. Counts a step a node, a loop's body once an element, and what a function does in proportion to its input;
 * what is compared is taken for a scalar unless it is written as a list. The budget of the decision is what holds at run
 * time.
 */
export function estimateCost(expression: Expression, env: Environment, sizes: AssumedSizes = assumedSizes): Cost {
  return { max: new Estimator(env, sizes).estimate(expression.root).steps };
}

/** Nodes that `data.<ns>[key]` is written with: its key and all. */
const formNodes = 4;

/** Steps of a part, and how large its value may be: elements, or characters in units of `charactersPerItem`. */
interface Part {
  readonly steps: number;
  readonly size: number;
  /** How large an element of it may be. */
  readonly element: number;
}

interface Scope {
  readonly name: string;
  readonly size: number;
  readonly outer: Scope | null;
}

class Estimator {
  readonly #env: Environment;
  readonly #sizes: AssumedSizes;
  #scope: Scope | null = null;

  constructor(env: Environment, sizes: AssumedSizes) {
    this.#env = env;
    this.#sizes = sizes;
  }

  estimate(node: Node): Part {
    const form = formOf(node, this.#env, (name) => this.#local(name) !== null);
    if (form !== null) {
      const key = (form.kind === 'fact' || form.kind === 'fact-test') && 'node' in form.key ? form.key.node : null;
      return this.#unknown(formNodes + (key === null ? 0 : this.estimate(key).steps));
    }
    switch (node.kind) {
      case 'literal':
        return { steps: 1, size: this.#literalSize(node.value), element: 1 };
      case 'ident':
        return { ...this.#unknown(1), size: this.#local(node.name)?.size ?? this.#sizes.items };
      case 'select':
      case 'has':
        return this.#unknown(1 + this.estimate(node.operand).steps);
      case 'call':
        return this.#call(node);
      case 'list':
        return this.#built(node.elements);
      case 'map':
        return this.#built(node.entries.flatMap((entry) => [entry.key, entry.value]));
      case 'struct':
        return this.#built(node.fields.map((field) => field.value));
      case 'comprehension':
        return this.#macro(node);
      case 'bind': {
        const value = this.estimate(node.value);
        const body = this.#within([node.name], value.size, () => this.estimate(node.body));
        return { ...body, steps: 1 + value.steps + body.steps };
      }
    }
  }

  /** A value of which nothing is known. */
  #unknown(steps: number): Part {
    return { steps, size: this.#sizes.items, element: this.#sizes.items };
  }

  #local(name: string): Scope | null {
    let scope = this.#scope;
    while (scope !== null && scope.name !== name) scope = scope.outer;
    return scope;
  }

  #within<T>(names: readonly string[], size: number, body: () => T): T {
    const outer = this.#scope;
    for (const name of names) this.#scope = { name, size, outer: this.#scope };
    const result = body();
    this.#scope = outer;
    return result;
  }

  #literalSize(value: unknown): number {
    return typeof value === 'string' || value instanceof Uint8Array
      ? Math.ceil(value.length / this.#sizes.charactersPerItem)
      : 1;
  }

  #built(nodes: readonly Node[]): Part {
    const parts = nodes.map((node) => this.estimate(node));
    const steps = parts.reduce((sum, part) => sum + part.steps, 1 + parts.length);
    return { steps, size: parts.length, element: parts.reduce((most, part) => Math.max(most, part.size), 1) };
  }

  #call(node: CallNode): Part {
    const operands = node.target === null ? node.args : [node.target, ...node.args];
    const parts = operands.map((operand) => this.estimate(operand));
    const steps = parts.reduce((sum, part) => sum + part.steps, 1);
    const total = parts.reduce((sum, part) => sum + part.size, 0);
    const largest = parts.reduce((most, part) => Math.max(most, part.size), 1);
    const element = parts.reduce((most, part) => Math.max(most, part.element), 1);
    const flat = (more: number): Part => ({ steps: steps + more, size: 1, element: 1 });
    switch (node.fn) {
      case '_&&_':
      case '_||_':
      case '!_':
      case '_<_':
      case '_<=_':
      case '_>_':
      case '_>=_':
        return flat(0);
      case '_==_':
      case '_!=_':
        return flat(operands.every(isList) ? total : 0);
      case '@in':
        return flat(parts[1]!.size);
      case '_?_:_':
        return { steps, size: largest, element };
      case '_[_]':
      case '_[?_]':
      case '_?._':
        return { ...this.#unknown(steps), size: parts[0]!.element };
      case '_+_':
      case 'join':
      case 'replace':
      case 'format':
      case 'flatten':
        return { steps: steps + total, size: total, element };
      case 'matches':
        return flat(this.#matchSteps(operands[1], parts));
      case 'contains':
        return flat(node.target !== null && isNamespace(node.target, 'sets') ? pairs(parts.slice(1)) : largest);
      case 'equivalent':
      case 'intersects':
        return flat(pairs(parts.slice(1)));
      case 'distinct':
        return { steps: steps + pairs(parts), size: largest, element };
      case 'sort':
        return { steps: steps + largest * Math.ceil(Math.log2(largest + 2)), size: largest, element };
      case 'size':
        return flat(largest >> 3);
      default:
        return { steps: steps + largest, size: largest, element };
    }
  }

  /** A pattern written out is compiled when planned; any other is charged for compiling too. */
  #matchSteps(pattern: Node | undefined, parts: readonly Part[]): number {
    const characters = (parts[0]?.size ?? 1) * this.#sizes.charactersPerItem + 16;
    const isWritten = pattern?.kind === 'literal' && typeof pattern.value === 'string';
    const size = isWritten ? patternSize(String(pattern.value)) : (parts[1]?.size ?? 1) * this.#sizes.charactersPerItem;
    return Math.ceil((characters * (size + 16)) / 16) + (isWritten ? 0 : 10 * size);
  }

  #macro(node: ComprehensionNode): Part {
    const range = this.estimate(node.range);
    const bodies = [node.predicate, node.transform].filter((body) => body !== null);
    const parts = this.#within(node.variables, range.element, () => bodies.map((body) => this.estimate(body)));
    const body = parts.reduce((sum, part) => sum + part.steps, 1);
    const steps = 1 + range.steps + range.size * body;
    if (node.macro === 'all' || node.macro === 'exists' || node.macro === 'existsOne')
      return { steps, size: 1, element: 1 };
    return { steps, size: range.size, element: node.transform === null ? range.element : (parts.at(-1)?.size ?? 1) };
  }
}

function isList(node: Node): boolean {
  return node.kind === 'list' || node.kind === 'map' || (node.kind === 'comprehension' && node.transform !== null);
}

function isNamespace(node: Node, name: string): boolean {
  return node.kind === 'ident' && node.name === name;
}

/** Every element of one list against every element of another, or of itself; elements may be compared whole. */
function pairs(parts: readonly Part[]): number {
  const [most = 1, next = most] = parts.map((part) => Math.max(1, part.size)).sort((a, b) => b - a);
  return 2 * most * next;
}
