import type { FactLookup, Facts } from '../eval/index.ts';
import {
  type Activation,
  CelError,
  noLiteralTests,
  type PlannedPolicy,
  type Program,
  Unknowns,
} from '../policy/index.ts';
import type { EvaluationRequest } from '../policy/request.ts';

// Policies made of closures instead of CEL, and facts that can be cold, for the tests of decisions.

export const someRequest: EvaluationRequest = {
  subject: { type: 'user', id: 'alice', properties: {} },
  action: { name: 'read', properties: {} },
  resource: { type: 'record', id: 'r1', properties: {} },
  context: {},
};

/** What a scripted expression gives: a boolean, something else, an error, or the truth of a fact. */
export type Script = boolean | 'text' | 'error' | { readonly fact: string };

export function scripted(label: string, script: Script): Program {
  return { label, evaluate: (activation) => run(script, activation) };
}

function run(script: Script, activation: Activation): unknown {
  if (script === 'error') return new CelError('divide_by_zero', 'division by zero');
  if (typeof script !== 'object') return script;
  const [namespace = '', ...rest] = script.fact.split('.');
  const key = rest.join('.');
  const found = activation.facts.lookup(namespace, key);
  if (found.kind === 'cold') return new Unknowns([{ namespace, key }]);
  if (found.kind === 'value') return found.value;
  return new CelError(found.kind === 'absent' ? 'fact_absent' : 'fact_unavailable', `fact ${found.kind}`);
}

export interface ScriptedPolicy {
  readonly conditions?: readonly Script[];
  readonly validations?: readonly Script[];
  readonly message?: Script | string;
  readonly actions?: readonly ('Deny' | 'Warn' | 'Audit')[];
  readonly failsClosed?: boolean;
  readonly literalTests?: PlannedPolicy['literalTests'];
}

export function scriptedPolicy(policy: ScriptedPolicy): PlannedPolicy {
  const actions = policy.actions ?? ['Deny'];
  const message = policy.message;
  return {
    matchConditions: (policy.conditions ?? []).map((script, i) => ({
      label: `matchConditions[${i}]`,
      program: scripted(`matchConditions[${i}]`, script),
    })),
    variables: [],
    variableNames: [],
    validations: (policy.validations ?? [true]).map((script, i) => ({
      label: `validations[${i}]`,
      program: scripted(`validations[${i}]`, script),
      reason: `r${i}`,
      message: 'fixed',
      messageProgram:
        message === undefined
          ? null
          : {
              label: 'message',
              evaluate: (a) =>
                typeof message === 'string' && message !== 'error' ? message : run(message as Script, a),
            },
    })),
    params: {},
    denies: actions.includes('Deny'),
    warns: actions.includes('Warn'),
    audits: actions.includes('Audit'),
    failsClosed: policy.failsClosed ?? true,
    namespaces: [],
    literalTests: policy.literalTests ?? noLiteralTests,
  };
}

/** Facts of which some are on disk until loaded. Counts the loads. */
export class ColdFacts implements Facts {
  loads = 0;
  readonly #entries: ReadonlyMap<string, unknown>;
  readonly #cold: Set<string>;

  constructor(entries: ReadonlyMap<string, unknown>, cold: Iterable<string>) {
    this.#entries = entries;
    this.#cold = new Set(cold);
  }

  lookup(namespace: string, key: string): FactLookup {
    const name = `${namespace}.${key}`;
    if (this.#cold.has(name)) return { kind: 'cold' };
    const value = this.#entries.get(name);
    return value === undefined ? { kind: 'absent' } : { kind: 'value', value, dots: [`dot-${name}`] };
  }

  async load(keys: readonly { namespace: string; key: string }[]): Promise<void> {
    this.loads++;
    for (const { namespace, key } of keys) this.#cold.delete(`${namespace}.${key}`);
  }

  stalenessMs(): number | undefined {
    return 0;
  }

  release(): void {}
}
