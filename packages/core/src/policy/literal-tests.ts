import type { Node } from './cel/index.ts';
import type { LiteralTests } from './planned.ts';

type Attribute = keyof LiteralTests;

const attributes: { readonly [path: string]: Attribute } = {
  'resource.type': 'resourceType',
  'action.name': 'actionName',
  'subject.type': 'subjectType',
};

/** No test: any request may make the policy apply. */
export const noLiteralTests: LiteralTests = Object.freeze({ resourceType: null, actionName: null, subjectType: null });

/**
 * The literal tests of an expression: `resource.type == "x"`, `action.name in ["a", "b"]` and the like, alone or as
 * operands of `&&`. Those are false or true, never errors, because requests always have these members; and one false
 * operand makes `&&` false whatever its others do.
 */
export function literalTests(root: Node): LiteralTests {
  if (root.kind === 'call' && root.fn === '_&&_' && root.target === null)
    return root.args.map(literalTests).reduce(bothTests, noLiteralTests);
  const test = equality(root) ?? membership(root);
  return test === undefined ? noLiteralTests : { ...noLiteralTests, [test.attribute]: test.values };
}

/** Tests that hold only where both do. */
export function bothTests(a: LiteralTests, b: LiteralTests): LiteralTests {
  return {
    resourceType: both(a.resourceType, b.resourceType),
    actionName: both(a.actionName, b.actionName),
    subjectType: both(a.subjectType, b.subjectType),
  };
}

function both(a: ReadonlySet<string> | null, b: ReadonlySet<string> | null): ReadonlySet<string> | null {
  if (a === null || b === null) return a ?? b;
  return new Set([...a].filter((value) => b.has(value)));
}

/** Whether there is any test at all. */
export function hasLiteralTest(tests: LiteralTests): boolean {
  return tests.resourceType !== null || tests.actionName !== null || tests.subjectType !== null;
}

interface Test {
  readonly attribute: Attribute;
  readonly values: ReadonlySet<string>;
}

function equality(node: Node): Test | undefined {
  if (node.kind !== 'call' || node.fn !== '_==_' || node.args.length !== 2) return undefined;
  const [left, right] = node.args as readonly [Node, Node];
  return testOf(left, [right]) ?? testOf(right, [left]);
}

function membership(node: Node): Test | undefined {
  if (node.kind !== 'call' || node.fn !== '@in' || node.args.length !== 2) return undefined;
  const [member, list] = node.args as readonly [Node, Node];
  return list.kind === 'list' ? testOf(member, list.elements) : undefined;
}

function testOf(node: Node, literals: readonly Node[]): Test | undefined {
  if (node.kind !== 'select' || node.operand.kind !== 'ident') return undefined;
  const path = `${node.operand.name}.${node.field}`;
  const attribute = Object.hasOwn(attributes, path) ? attributes[path] : undefined;
  if (attribute === undefined) return undefined;
  const values = new Set<string>();
  for (const literal of literals) {
    if (literal.kind !== 'literal') return undefined;
    // A literal of another type never equals a string, so it adds nothing that could match.
    if (typeof literal.value === 'string') values.add(literal.value);
  }
  return { attribute, values };
}
