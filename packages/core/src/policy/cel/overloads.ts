import type { CallNode, Node } from './ast.ts';
import { type Inference, sameType } from './inference.ts';
import { symbolOf } from './plan-context.ts';
import type { Signature } from './signatures.ts';
import { dyn, type Type, typeName } from './types.ts';

/** The result of the first signature that fits; `dyn` when several fit and differ; null when none does. */
export function resolveOverload(
  inference: Inference,
  signatures: readonly Signature[],
  args: readonly Type[],
): Type | null {
  let result: Type | null = null;
  for (const signature of signatures) {
    const wanted = parametersFor(signature, args.length);
    if (wanted === null || wanted.some((type, index) => neverJson(type, args[index]!))) continue;
    const [own, ...parameters] = inference.instantiate([signature.result, ...wanted]);
    if (!inference.assignAll(parameters, args)) continue;
    const found = inference.resolve(own!);
    if (result === null) result = found;
    else if (!sameType(result, found)) return dyn;
  }
  return result;
}

const absentFromJson: ReadonlySet<Type['kind']> = new Set(['int', 'uint', 'bytes', 'timestamp', 'duration']);

/** Whether an argument from JSON can never be what is asked for: JSON numbers are doubles, and it has no timestamps. */
function neverJson(wanted: Type, given: Type): boolean {
  return isJson(given) && absentFromJson.has(wanted.kind);
}

function isJson(type: Type): boolean {
  return type.kind === 'dyn' && type.json === true;
}

/** The types a signature asks for when called with `count` arguments; null when it cannot be. */
function parametersFor(signature: Signature, count: number): readonly Type[] | null {
  const { parameters, variadic } = signature;
  if (!variadic) return parameters.length === count ? parameters : null;
  if (count < parameters.length) return null;
  const more = Array.from({ length: count - parameters.length }, () => parameters.at(-1)!);
  return [...parameters, ...more];
}

/** Why no signature fits, and which node to point at. `given` are resolved types. */
export function explainNoOverload(
  node: CallNode,
  name: string,
  signatures: readonly Signature[],
  given: readonly Type[],
): { readonly at: Node; readonly message: string } {
  const symbol = symbolOf(name);
  const shown = given.map((type) => (isJson(type) ? 'JSON' : typeName(type)));
  const has = (...kinds: readonly string[]): boolean => given.some((type) => kinds.includes(type.kind));
  const hasDouble = has('double') || given.some(isJson);
  const literal = node.args.find((arg) => arg.kind === 'literal' && typeof arg.value === 'bigint');
  if (hasDouble && literal?.kind === 'literal' && isArithmetic(name)) {
    const message = `\`${symbol}\` does not mix double and int; JSON numbers are doubles: write \`${literal.value}.0\``;
    return { at: literal, message };
  }
  const refused = `\`${symbol}\` does not take (${shown.join(', ')})`;
  if (given.some(isJson) && has('timestamp', 'duration')) {
    return { at: node, message: `${refused}; JSON has no times: convert with \`timestamp()\` or \`duration()\`` };
  }
  if (hasDouble && has('int', 'uint')) {
    return { at: node, message: `${refused}; JSON numbers are doubles: convert with \`double()\` or \`int()\`` };
  }
  const takes = signatures.map((one) => one.text.split(' -> ')[0]).join(' or ');
  return { at: node, message: signatures.length <= 4 ? `${refused}; it takes ${takes}` : refused };
}

function isArithmetic(name: string): boolean {
  return /^_[-+*/%]_$/.test(name);
}
