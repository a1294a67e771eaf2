import type { PolicyFiles } from '@ipe/core/tree';

/** One policy as its author wrote it, and where it is to stand. */
export interface PolicyText {
  /** `prod.deployment.approval` */
  readonly path: string;
  readonly source: string;
  readonly test?: string;
  /** File names to report problems under; default the path with `.policy.yaml` and `.test.yaml`. */
  readonly sourceFile?: string;
  readonly testFile?: string;
}

/** Something wrong, or doubtful, in a file of policies or tests; where it can be shown, down to the column. */
export interface FileProblem {
  readonly file: string;
  /** Path of the policy concerned, where there is one. */
  readonly path?: string;
  /** A warning does not keep a policy out. */
  readonly severity: 'error' | 'warning';
  /** Stable name for machines: `file_name`, `file_kind`, `file_content`, or the compiler's own. */
  readonly code: string;
  readonly message: string;
  /** 1-based, as are the columns. */
  readonly line?: number;
  readonly column?: number;
  /** Column after the last character concerned. */
  readonly endColumn?: number;
  /** Line of the CEL expression at fault, and carets that stand under the fault. */
  readonly expression?: string;
  readonly underline?: string;
  /** What to write instead. */
  readonly hint?: string;
}

/** What became of one test. */
export interface TestOutcome {
  /** Path of the policy that the test belongs to. */
  readonly path: string;
  readonly file: string;
  readonly name: string;
  readonly passed: boolean;
  /** Why it failed: what was expected and what came. */
  readonly message?: string;
  readonly line?: number;
  /** What was decided; absent where nothing could be asked. */
  readonly decision?: 'allow' | 'deny' | 'not_applicable';
}

/** One policy after compiling and testing. */
export interface CompiledPolicy {
  readonly path: string;
  /** Absent where an error keeps the policy from being stored. */
  readonly files?: PolicyFiles;
  readonly problems: readonly FileProblem[];
  readonly tests: readonly TestOutcome[];
  /** Paths other than its own that its tests ask; set only between compiling and testing. */
  readonly asks?: readonly string[];
}

/** Compiles one policy, and runs its tests where they ask nothing but that policy. Pure, the same on every instance. */
export type CompileText = (text: PolicyText) => CompiledPolicy;

/** A compiled policy at its place. */
export interface ProgramAt {
  readonly path: string;
  readonly program: Uint8Array;
}

/** Runs the tests of a policy against the policies they ask, all of which are in `programs`, in path order. */
export type TestText = (text: PolicyText, programs: readonly ProgramAt[]) => readonly TestOutcome[];

/** What stays in the tree beside a set: asked where tests of the set name other paths than their own. */
export interface Surroundings {
  /** Policies at or below `path` that the set neither replaces nor removes. */
  programsAt(path: string): Promise<readonly ProgramAt[]>;
}

export interface CompileOptions {
  readonly signal?: AbortSignal;
  /** Told how many of all are done, from time to time. */
  readonly onProgress?: (done: number, all: number) => void;
  /** Absent: tests see only the policies of the set. */
  readonly surroundings?: Surroundings;
}

/** Compiles and tests sets of policies without holding up the process for long. */
export interface PolicyCompiler {
  /** Name and version of the compiler, kept with each commit (`Ipe-Compiler`). */
  readonly version: string;
  /**
   * Compiles and tests all of them; mistakes are in the results, which come in the order of `texts`.
   * @throws IpeError `unavailable` when given up or closed; `internal` when the compiler itself failed.
   */
  compile(texts: readonly PolicyText[], options?: CompileOptions): Promise<readonly CompiledPolicy[]>;
  /**
   * Runs tests of policies that are not compiled: against what the surroundings hold at their own paths and at those
   * they ask, `asks` in the order of `texts`.
   * @throws IpeError as `compile`
   */
  test(
    texts: readonly PolicyText[],
    asks: readonly (readonly string[])[],
    options: CompileOptions,
  ): Promise<readonly TestOutcome[]>;
  /** Ends the worker. Work under way fails with `unavailable`. */
  close(): Promise<void>;
}
