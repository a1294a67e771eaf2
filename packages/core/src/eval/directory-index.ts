import { type LiteralTests, passesLiteralTests } from '../policy/index.ts';
import type { EvaluationRequest } from '../policy/request.ts';

/** A policy as the index knows it: enough to load and plan it, and to tell when it cannot apply. */
export interface IndexedPolicy {
  /** Id of the policy's tree. */
  readonly id: string;
  /** Id of its program: plan once per id. */
  readonly program: string;
  readonly literalTests: LiteralTests;
}

/** A policy or a directory below a directory, by its name there. */
export interface IndexedChild {
  readonly name: string;
  readonly node: IndexedPolicy | DirectoryIndex;
}

/** A policy that can apply, and where it stands. */
export interface Candidate extends IndexedPolicy {
  readonly path: string;
}

const attributes = ['resourceType', 'actionName', 'subjectType'] as const;
type Attribute = (typeof attributes)[number];

/**
 * Which policies below a directory can apply to a request, without looking at the others.
 *
 * Every child stands under one attribute: the values of a literal test it has, or, where it has none, among those that
 * are always visited. A directory's own tests are what all its policies have in common. So a question about one resource
 * type in a tree of many costs the policies of that type, not the tree.
 *
 * Immutable, and free of absolute paths, so that one index serves its tree id wherever that stands.
 */
export class DirectoryIndex {
  /** Values that all policies below ask for, as one test: a request that fails it concerns none of them. */
  readonly literalTests: LiteralTests;
  /** Children of the directory itself. */
  get width(): number {
    return this.#children.length;
  }

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
      const { literalTests } = child.node;
      const attribute = attributes.find((name) => literalTests[name] !== null);
      if (attribute === undefined) always.push(position);
      else for (const value of literalTests[attribute]!) append(byValue[attribute], value, position);
    }
    this.#children = children;
    this.#byValue = byValue;
    this.#always = always;
    this.size = children.reduce((sum, { node }) => sum + (node instanceof DirectoryIndex ? node.size : 1), 0);
    this.literalTests = anyTests(children.map(({ node }) => node.literalTests));
  }

  /**
   * The policies that can apply, in path order; every policy left out is not applicable to the request.
   *
   * @param path where this directory stands; `""` for the root
   */
  candidates(request: EvaluationRequest, path: string): readonly Candidate[] {
    const found: Candidate[] = [];
    this.#collect(request, path, found);
    return found.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  #collect(request: EvaluationRequest, path: string, found: Candidate[]): void {
    const { resourceType, actionName, subjectType } = this.#byValue;
    this.#visit(this.#always, request, path, found);
    this.#visit(resourceType.get(request.resource.type), request, path, found);
    this.#visit(actionName.get(request.action.name), request, path, found);
    this.#visit(subjectType.get(request.subject.type), request, path, found);
  }

  #visit(positions: readonly number[] | undefined, request: EvaluationRequest, path: string, found: Candidate[]): void {
    for (const position of positions ?? []) {
      const { name, node } = this.#children[position]!;
      if (!passesLiteralTests(node.literalTests, request)) continue;
      const at = path === '' ? name : `${path}.${name}`;
      if (node instanceof DirectoryIndex) node.#collect(request, at, found);
      else found.push({ path: at, ...node });
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
