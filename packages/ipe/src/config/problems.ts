import type { ConfigSource } from './sources.ts';

/** One thing wrong with a configuration. */
export interface ConfigProblem {
  /** Dotted path of the key, such as `cluster.listen`; empty for the file as a whole. */
  readonly path: string;
  /** What is wrong and what was expected; lower case, input in backticks. */
  readonly message: string;
  readonly source: ConfigSource;
  /** 1-based position in the file, where the file is the source. */
  readonly line?: number;
  readonly column?: number;
  /** The environment variable, where the environment is the source. */
  readonly variable?: string;
  /** The valid name that was probably meant. */
  readonly nearest?: string;
}

/** A problem as one line for people: `ipe.toml:3: unknown key ...`. */
export function renderProblem(problem: ConfigProblem, file: string): string {
  const place = [placeOf(problem, file), problem.line, problem.column].filter((part) => part !== undefined).join(':');
  return `${place}: ${problem.message}`;
}

/** The file, variable or flag that a problem is in. */
export function placeOf(problem: ConfigProblem, file: string): string {
  if (problem.source === 'environment') return problem.variable ?? 'environment';
  return problem.source === 'flag' ? `flag for \`${problem.path}\`` : file;
}
