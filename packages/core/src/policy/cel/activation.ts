import type { Failure } from './values.ts';

/** What a look-up of one fact can give; `core/eval`'s `Facts` is a `FactReader`. */
export type FactLookup =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'absent' }
  | { readonly kind: 'cold' }
  | { readonly kind: 'error'; readonly message: string };

/** Facts as one decision reads them: synchronous and repeatable. */
export interface FactReader {
  /** @param key the entry's key without its namespace */
  lookup(namespace: string, key: string): FactLookup;
  /** Milliseconds since this instance last held all that its peers held; undefined when it does not hold the namespace. */
  stalenessMs(namespace: string): number | undefined;
}

/** Told of every node evaluated by a program planned with `observe`. */
export interface Observer {
  /** @param program the program whose node it is; @param value the value or failure it gave */
  node(program: Program, nodeId: number, value: unknown): void;
}

/** An expression ready to run: closures made once, evaluated often. */
export interface Program {
  /** Name given at planning, for messages and observers. */
  readonly label: string;
  /**
   * The value of the expression, or the failure met. Never throws. Synchronous: must not be called again for the same
   * program from within itself.
   */
  evaluate(activation: Activation): unknown | Failure;
}

const unset: unique symbol = Symbol('unset');

/**
 * The input of one decision: values of the roots, facts, the policy's variables (evaluated at most once each), and the
 * budget all its expressions share. Make a new one for every decision and for every repeated pass.
 */
export class Activation {
  /** Values by position in `Environment.roots`. Read in place, never written. */
  readonly roots: readonly unknown[];
  readonly facts: FactReader;
  readonly observer: Observer | null;
  /** Steps left; below zero every further charge fails. */
  stepsLeft: number;
  /** Levels of expressions being evaluated now: one's own and those of the variables it waits for. */
  depth = 0;
  readonly #variables: readonly Program[];
  readonly #values: unknown[];

  /**
   * @param variables programs of `variables.<name>` by position in `Environment.variables`
   * @param stepBudget how many steps all expressions may take together; see `Cost`
   */
  constructor(
    roots: readonly unknown[],
    facts: FactReader,
    variables: readonly Program[] = [],
    stepBudget = defaultStepBudget,
    observer: Observer | null = null,
  ) {
    this.roots = roots;
    this.facts = facts;
    this.observer = observer;
    this.stepsLeft = stepBudget;
    this.#variables = variables;
    this.#values = variables.length === 0 ? noValues : new Array(variables.length).fill(unset);
  }

  /** The value or failure of a variable, computed at first use. */
  variable(index: number): unknown {
    const held = this.#values[index];
    if (held !== unset) return held;
    const value = this.#variables[index]!.evaluate(this);
    this.#values[index] = value;
    return value;
  }

  /** Whether a variable has been computed, for explanations. */
  hasVariable(index: number): boolean {
    return this.#values[index] !== unset;
  }
}

const noValues: unknown[] = [];

/** Steps a decision may take unless told otherwise: about a tenth of a second of work. */
export const defaultStepBudget = 1_000_000;

/** A reader that holds no namespace: every look-up is an error. */
export const noFacts: FactReader = {
  lookup: (namespace) => ({ kind: 'error', message: `namespace \`${namespace}\` is not held here` }),
  stalenessMs: () => undefined,
};
