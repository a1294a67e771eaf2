import type { CallNode, ComprehensionNode, Expression, Node } from './ast.ts';
import type { Environment } from './environment.ts';
import { formOf } from './forms.ts';

/** What an evaluation may cost, in the steps that `Activation.stepsLeft` counts. */
export interface Cost {
  /** No evaluation takes more, as long as no list or text met is larger than assumed. */
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
 * A hundred elements: one loop over a fact's list costs hundreds of steps and a loop in a loop tens of thousands, which
 * the default budget allows; three loops in one another cost millions, which it does not. Larger lists still evaluate,
 * until the budget of the decision itself is spent.
 */
export const assumedSizes: AssumedSizes = { items: 100, charactersPerItem: 10 };

/**
 * Bounds the steps of an expression before it runs, so that one that would cost too much can be refused when it is
 * written. Counts a step a node, a loop's body once an element, and what a function does in proportion to its input.
 */
export function estimateCost(expression: Expression, env: Environment, sizes: AssumedSizes = assumedSizes): Cost {
  return { max: new Estimator(env, sizes).estimate(expression.root).steps };
}

/** Steps of a part, and how large its value may be (elements, or characters in units of `charactersPerItem`). */
interface Part {
  readonly steps: number;
  readonly size: number;
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
      return { steps: 1 + (key === null ? 0 : this.estimate(key).steps), size: this.#sizes.items };
    }
    switch (node.kind) {
      case 'literal':
        return { steps: 1, size: this.#literalSize(node.value) };
      case 'ident':
        return { steps: 1, size: this.#local(node.name)?.size ?? this.#sizes.items };
      case 'select':
      case 'has':
        return { steps: 1 + this.estimate(node.operand).steps, size: this.#sizes.items };
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
        return { steps: 1 + value.steps + body.steps, size: body.size };
      }
    }
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

  #built(parts: readonly Node[]): Part {
    const steps = parts.reduce((sum, part) => sum + this.estimate(part).steps, 1 + parts.length);
    return { steps, size: parts.length };
  }

  #call(node: CallNode): Part {
    const parts = (node.target === null ? node.args : [node.target, ...node.args]).map((part) => this.estimate(part));
    const steps = parts.reduce((sum, part) => sum + part.steps, 1);
    const sum = parts.reduce((total, part) => total + part.size, 0);
    const largest = parts.reduce((most, part) => Math.max(most, part.size), 1);
    switch (node.fn) {
      case '_&&_':
      case '_||_':
      case '!_':
        return { steps, size: 1 };
      case '_?_:_':
        return { steps, size: largest };
      case '_[_]':
      case '_[?_]':
      case '_?._':
        return { steps, size: this.#sizes.items };
      case '_+_':
      case 'join':
      case 'replace':
      case 'format':
      case 'flatten':
        return { steps: steps + sum, size: sum };
      case 'matches': {
        const [text = 1, pattern = 1] = parts.map((part) => part.size * this.#sizes.charactersPerItem + 16);
        return { steps: steps + Math.ceil((text * pattern) / 64), size: 1 };
      }
      case 'contains':
        if (node.target !== null && isNamespace(node.target, 'sets')) return quadratic(steps, parts.slice(1));
        return { steps: steps + largest, size: 1 };
      case 'equivalent':
      case 'intersects':
      case 'distinct':
        return { ...quadratic(steps, parts), size: largest };
      case 'sort':
        return { steps: steps + largest * Math.ceil(Math.log2(largest + 2)), size: largest };
      case 'size':
        return { steps: steps + largest, size: 1 };
      default:
        return { steps: steps + largest, size: largest };
    }
  }

  #macro(node: ComprehensionNode): Part {
    const range = this.estimate(node.range);
    const bodies = [node.predicate, node.transform].filter((body) => body !== null);
    const parts = this.#within(node.variables, this.#sizes.items, () => bodies.map((body) => this.estimate(body)));
    const body = parts.reduce((sum, part) => sum + part.steps, 1);
    const isTest = node.macro === 'all' || node.macro === 'exists' || node.macro === 'existsOne';
    return { steps: 1 + range.steps + range.size * body, size: isTest ? 1 : range.size };
  }
}

function isNamespace(node: Node, name: string): boolean {
  return node.kind === 'ident' && node.name === name;
}

/** Every element of one list against every element of another, or of itself. */
function quadratic(steps: number, parts: readonly Part[]): Part {
  const sizes = parts.map((part) => Math.max(1, part.size)).sort((a, b) => b - a);
  return { steps: steps + 2 * sizes[0]! * (sizes[1] ?? sizes[0]!), size: 1 };
}
