import { type LiteralTests, passesLiteralTests } from '../policy/index.ts';
import type { EvaluationRequest } from '../policy/request.ts';

/** A policy as the index knows it: enough to load and plan it, and to tell when it cannot apply. */
export interface IndexedPolicy {
  readonly path: string;
  /** Id of the policy's tree. */
  readonly id: string;
  /** Id of its program: plan once per id. */
  readonly program: string;
  readonly literalTests: LiteralTests;
}

/** A policy or a directory below a directory. */
export type IndexedChild = IndexedPolicy | DirectoryIndex;

const attributes = ['resourceType', 'actionName', 'subjectType'] as const;
type Attribute = (typeof attributes)[number];

/**
 * Which policies below a directory can apply to a request, without looking at the others.
 *
 * Every child stands under one attribute: the values of a literal test it has, or, where it has none, among those that
 * are always visited. A directory's own tests are what all its policies have in common. So a question about one resource
 * type in a tree of many costs the policies of that type, not the tree.
 *
 * Immutable; built once per directory tree id, from its children's indexes.
 */
export class DirectoryIndex {
  /** Values that all policies below ask for, as one test: a request that fails it concerns none of them. */
  readonly literalTests: LiteralTests;
  /** Policies at any depth. */
  readonly size: number;
  readonly #byValue: Readonly<Record<Attribute, ReadonlyMap<string, readonly number[]>>>;
  readonly #always: readonly number[];
  readonly #children: readonly IndexedChild[];

  constructor(children: readonly IndexedChild[]) {
    const byValue = { resourceType: new Map(), actionName: new Map(), subjectType: new Map() } as Record<
      Attribute,
      Map<string, number[]>
    >;
    const always: number[] = [];
    for (const [position, child] of children.entries()) {
      const attribute = attributes.find((name) => child.literalTests[name] !== null);
      if (attribute === undefined) always.push(position);
      else for (const value of child.literalTests[attribute]!) append(byValue[attribute], value, position);
    }
    this.#children = children;
    this.#byValue = byValue;
    this.#always = always;
    this.size = children.reduce((sum, child) => sum + (child instanceof DirectoryIndex ? child.size : 1), 0);
    this.literalTests = anyTests(children.map((child) => child.literalTests));
  }

  /** The policies that can apply, in path order; every policy left out is not applicable to the request. */
  candidates(request: EvaluationRequest): readonly IndexedPolicy[] {
    const found: IndexedPolicy[] = [];
    this.#collect(request, found);
    return found.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  #collect(request: EvaluationRequest, found: IndexedPolicy[]): void {
    this.#visit(this.#always, request, found);
    this.#visit(this.#byValue.resourceType.get(request.resource.type), request, found);
    this.#visit(this.#byValue.actionName.get(request.action.name), request, found);
    this.#visit(this.#byValue.subjectType.get(request.subject.type), request, found);
  }

  #visit(positions: readonly number[] | undefined, request: EvaluationRequest, found: IndexedPolicy[]): void {
    for (const position of positions ?? []) {
      const child = this.#children[position]!;
      if (!passesLiteralTests(child.literalTests, request)) continue;
      if (child instanceof DirectoryIndex) child.#collect(request, found);
      else found.push(child);
    }
  }
}

function append(lists: Map<string, number[]>, value: string, position: number): void {
  const list = lists.get(value);
  if (list === undefined) lists.set(value, [position]);
  else list.push(position);
}

/** The weakest test that every one of `tests` implies. Nothing at all has the test that nothing passes. */
function anyTests(tests: readonly LiteralTests[]): LiteralTests {
  const union = (name: Attribute): ReadonlySet<string> | null => {
    const values = new Set<string>();
    for (const test of tests) {
      const own = test[name];
      if (own === null) return null;
      for (const value of own) values.add(value);
    }
    return values;
  };
  return { resourceType: union('resourceType'), actionName: union('actionName'), subjectType: union('subjectType') };
}
