import type { Activation } from './activation.ts';
import type { BindNode, ComprehensionNode, Node } from './ast.ts';
import { children } from './ast.ts';
import { CelMap, isMap, mapGet, mapKeys } from './maps.ts';
import { overBudget } from './meter.ts';
import { type Cell, type Eval, mergeFailures, noOverload, type PlanContext } from './plan-context.ts';
import { planFilter, planQuantifier } from './plan-loops.ts';
import { CelError, Failure, Optional, Unknowns } from './values.ts';

/**
 * What a loop does with each element: continue (`undefined`), or end with a result. `index` counts from 0.
 */
type Step = (activation: Activation, state: LoopState, element: unknown) => unknown;

/** What a loop gathers. */
interface LoopState {
  failed: Failure | null;
  matches: number;
  readonly list: unknown[];
  readonly map: CelMap | null;
}

interface Loop {
  readonly step: Step;
  readonly finish: (state: LoopState) => unknown;
  readonly buildsMap?: boolean;
}

/** Plans a macro into a loop over its range. Source: cel-spec, langdef.md, "Macros"; cel-go, ext/comprehensions.go. */
export function planMacro(node: ComprehensionNode, context: PlanContext): Eval {
  if (node.macro === 'optMap' || node.macro === 'optFlatMap') return planOptionalMacro(node, context);
  const range = context.plan(node.range);
  const [first, second] = node.variables;
  const cells: [Cell, Cell] = [{ value: undefined }, { value: undefined }];
  const inner = context.with(first, cells[0]);
  const cost = 1 + bodySize(node);
  if (second === undefined && node.predicate !== null) {
    const { macro, predicate } = node;
    if (macro === 'filter') return planFilter(node, range, cells[0], inner.plan(predicate), cost);
    if (macro === 'all' || macro === 'exists') {
      return planQuantifier(node, range, cells[0], inner.plan(predicate), cost, macro === 'exists');
    }
  }
  const loop = planLoop(node, second === undefined ? inner : inner.with(second, cells[1]), cells[0]);
  const two = second !== undefined;
  return (activation) => {
    const over = range(activation);
    if (over instanceof Failure) return over;
    const isList = Array.isArray(over);
    if (!isList && !isMap(over)) return noOverload(node.id, node.macro, over);
    const elements = isList ? over : mapKeys(over);
    const state: LoopState = { failed: null, matches: 0, list: [], map: loop.buildsMap ? new CelMap() : null };
    for (let index = 0; index < elements.length; index++) {
      if ((activation.stepsLeft -= cost) < 0) return overBudget();
      const element = elements[index];
      if (two) {
        cells[0].value = isList ? BigInt(index) : element;
        cells[1].value = isList ? element : mapGet(over, element);
      } else cells[0].value = element;
      const ended = loop.step(activation, state, element);
      if (ended !== undefined) return ended;
    }
    return loop.finish(state);
  };
}

/** @param key the cell of the first variable */
function planLoop(node: ComprehensionNode, context: PlanContext, key: Cell): Loop {
  const predicate = node.predicate === null ? null : context.plan(node.predicate);
  const transform = node.transform === null ? null : context.plan(node.transform);
  const verdict = (value: unknown): Failure =>
    value instanceof Failure ? value : noOverload(node.id, node.macro, value);
  switch (node.macro) {
    case 'all':
    case 'exists':
      return absorbingLoop(predicate!, node.macro === 'exists', verdict);
    case 'existsOne':
      return {
        step: filtered(predicate!, verdict, (_, state) => void state.matches++),
        finish: (state) => state.failed ?? state.matches === 1,
      };
    case 'filter':
      return {
        step: filtered(predicate!, verdict, (_, state, element) => void state.list.push(element)),
        finish: (state) => state.failed ?? state.list,
      };
    case 'map':
    case 'transformList':
      return {
        step: filtered(
          predicate,
          verdict,
          gathered(transform!, (state, value) => void state.list.push(value) as undefined),
        ),
        finish: (state) => state.failed ?? state.list,
      };
    case 'transformMap': {
      return {
        step: filtered(
          predicate,
          verdict,
          gathered(transform!, (state, value) => addEntry(state, key.value, value, node.id)),
        ),
        finish: (state) => state.failed ?? state.map,
        buildsMap: true,
      };
    }
    case 'transformMapEntry':
      return {
        step: filtered(
          predicate,
          verdict,
          gathered(transform!, (state, value) => addEntries(state, value, node)),
        ),
        finish: (state) => state.failed ?? state.map,
        buildsMap: true,
      };
    default:
      throw new TypeError(`${node.macro} is not a loop`);
  }
}

/** `all` ends at false, `exists` at true; failures are kept aside until no element has decided. */
function absorbingLoop(predicate: Eval, decisive: boolean, verdict: (value: unknown) => Failure): Loop {
  return {
    step: (activation, state) => {
      const value = predicate(activation);
      if (value === decisive) return decisive;
      if (value !== !decisive) state.failed = mergeFailures(state.failed, verdict(value));
      return undefined;
    },
    finish: (state) => state.failed ?? !decisive,
  };
}

/** Runs `step` on the elements that pass. An error ends the loop; unknowns are gathered and end it after the last. */
function filtered(predicate: Eval | null, verdict: (value: unknown) => Failure, step: Step): Step {
  if (predicate === null) return step;
  return (activation, state, element) => {
    const value = predicate(activation);
    if (value === false) return undefined;
    if (value === true) return step(activation, state, element);
    return keepUnknown(state, verdict(value));
  };
}

function gathered(transform: Eval, add: (state: LoopState, value: unknown) => CelError | undefined): Step {
  return (activation, state) => {
    const value = transform(activation);
    if (value instanceof Failure) return keepUnknown(state, value);
    return add(state, value);
  };
}

function keepUnknown(state: LoopState, failure: Failure): Failure | undefined {
  if (!(failure instanceof Unknowns)) return failure;
  state.failed = mergeFailures(state.failed, failure);
  return undefined;
}

function addEntry(state: LoopState, key: unknown, value: unknown, id: number): CelError | undefined {
  if (state.map!.add(key, value)) return undefined;
  return new CelError('duplicate_key', `key \`${String(key)}\` is given twice, or cannot be a key`, id);
}

function addEntries(state: LoopState, value: unknown, node: ComprehensionNode): CelError | undefined {
  if (!isMap(value)) return noOverload(node.id, node.macro, value);
  for (const key of mapKeys(value)) {
    const failed = addEntry(state, key, mapGet(value, key), node.id);
    if (failed !== undefined) return failed;
  }
  return undefined;
}

/** Nodes evaluated for each element, nested loops apart: they charge for themselves. */
function bodySize(node: ComprehensionNode): number {
  const pending: Node[] = [node.predicate, node.transform].filter((part) => part !== null);
  let count = 0;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    count++;
    pending.push(...(next.kind === 'comprehension' ? [next.range] : children(next)));
  }
  return count;
}

/** `optional.optMap(x, f(x))` and `optFlatMap`: an empty optional stays empty. */
function planOptionalMacro(node: ComprehensionNode, context: PlanContext): Eval {
  const range = context.plan(node.range);
  const cell: Cell = { value: undefined };
  const transform = context.with(node.variables[0], cell).plan(node.transform!);
  const flat = node.macro === 'optFlatMap';
  return (activation) => {
    const optional = range(activation);
    if (optional instanceof Failure) return optional;
    if (!(optional instanceof Optional)) return noOverload(node.id, node.macro, optional);
    if (!optional.present) return optional;
    cell.value = optional.value;
    const value = transform(activation);
    if (value instanceof Failure) return value;
    if (!flat) return Optional.of(value);
    return value instanceof Optional ? value : noOverload(node.id, node.macro, value);
  };
}

/** `cel.bind(name, value, body)`: the value is computed once; a failure is met where the name is used. */
export function planBind(node: BindNode, context: PlanContext): Eval {
  const value = context.plan(node.value);
  const cell: Cell = { value: undefined };
  const body = context.with(node.name, cell).plan(node.body);
  return (activation) => {
    cell.value = value(activation);
    return body(activation);
  };
}
