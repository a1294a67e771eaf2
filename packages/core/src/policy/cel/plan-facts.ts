import type { Activation, FactLookup } from './activation.ts';
import type { Node } from './ast.ts';
import type { FactKey, Form } from './forms.ts';
import type { Eval, PlanContext } from './plan-context.ts';
import { CelError, Failure, Optional, Unknowns } from './values.ts';

/** Plans a form; see `Form`. A form that the checker refuses plans into the error it would be. */
export function planForm(node: Node, form: Form, context: PlanContext): Eval {
  const { id } = node;
  switch (form.kind) {
    case 'fact':
      return planFact(form.namespace, form.key, form.optional, id, context);
    case 'fact-test':
      return planFactTest(form.namespace, form.key, id, context);
    case 'staleness': {
      const { namespace } = form;
      return (activation) =>
        activation.facts.stalenessMs(namespace) ??
        new CelError('fact_unavailable', `namespace \`${namespace}\` is not held here`, id);
    }
    case 'variable': {
      const { index } = form;
      if (index === -1) return constant(new CelError('no_such_name', `no variable \`${form.name}\``, id));
      return (activation) => activation.variable(index);
    }
    case 'namespace':
      return constant(new CelError('no_such_overload', `\`data.${form.namespace}\` is not a value`, id));
    case 'misuse':
      return constant(new CelError('no_such_overload', `\`${form.name}\` is not a value`, id));
  }
}

const constant =
  (value: unknown): Eval =>
  () =>
    value;

function planFact(namespace: string, key: FactKey, optional: boolean, id: number, context: PlanContext): Eval {
  const keyOf = planKey(key, context);
  return (activation) => {
    const name = keyOf(activation);
    if (typeof name === 'string')
      return factValue(activation.facts.lookup(namespace, name), namespace, name, optional, id);
    if (name instanceof Failure) return name;
    return factValue(absent, namespace, String(name), optional, id);
  };
}

function planFactTest(namespace: string, key: FactKey, id: number, context: PlanContext): Eval {
  const keyOf = planKey(key, context);
  return (activation) => {
    const name = keyOf(activation);
    if (typeof name === 'string') return factPresence(activation.facts.lookup(namespace, name), namespace, name, id);
    return name instanceof Failure ? name : false;
  };
}

const absent: FactLookup = { kind: 'absent' };

function planKey(key: FactKey, context: PlanContext): (activation: Activation) => unknown {
  return 'literal' in key ? constant(key.literal) : context.plan(key.node);
}

function factValue(found: FactLookup, namespace: string, key: string, optional: boolean, id: number): unknown {
  switch (found.kind) {
    case 'value':
      return optional ? Optional.of(found.value) : found.value;
    case 'absent':
      return optional ? Optional.none : new CelError('fact_absent', `no entry \`${namespace}.${key}\``, id);
    default:
      return notRead(found, namespace, key, id);
  }
}

function factPresence(found: FactLookup, namespace: string, key: string, id: number): unknown {
  if (found.kind === 'value') return true;
  return found.kind === 'absent' ? false : notRead(found, namespace, key, id);
}

function notRead(found: FactLookup, namespace: string, key: string, id: number): Failure {
  if (found.kind === 'cold') return new Unknowns([{ namespace, key }]);
  const detail = found.kind === 'error' ? found.message : 'not available';
  return new CelError('fact_unavailable', `\`${namespace}.${key}\`: ${detail}`, id);
}
