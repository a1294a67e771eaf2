import type { Cli } from './cli.ts';

/** Tells people how long work goes on: one line on standard error, rewritten in place; silent where nobody reads along. */
export interface Progress {
  update(text: string): void;
  /** Takes the line away, or leaves `text` in its place. */
  done(text?: string): void;
}

export async function startProgress(cli: Cli, text: string): Promise<Progress> {
  if (!cli.io.stderrIsTerminal) return { update: () => {}, done: () => {} };
  const { createSpinner } = await import('nanospinner');
  const spinner = createSpinner(text, { stream: cli.io.stderr as NodeJS.WriteStream }).start();
  return {
    update: (next) => void spinner.update({ text: next }),
    done: (last) => void (last === undefined ? spinner.clear().stop() : spinner.success({ text: last })),
  };
}
