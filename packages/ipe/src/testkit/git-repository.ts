import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A real Git repository in a temporary folder, for tests. */
export interface FixtureRepository {
  readonly directory: string;
  /** Runs git in it and gives its output, trimmed. */
  git(...args: string[]): string;
  /** Writes files (null removes one), commits them and gives the commit's id. */
  commit(files: Readonly<Record<string, string | null>>, message?: string): string;
  destroy(): void;
}

/** Makes an empty repository on branch `main`; author and times are fixed, so that commit ids repeat. */
export function fixtureRepository(options: { readonly objectFormat?: 'sha1' | 'sha256' } = {}): FixtureRepository {
  const directory = mkdtempSync(join(tmpdir(), 'ipe-repository-'));
  let seconds = 1_750_000_000;
  const git = (...args: string[]): string =>
    execFileSync('git', args, {
      cwd: directory,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        HOME: directory,
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
        GIT_AUTHOR_NAME: 'Ada Lovelace',
        GIT_AUTHOR_EMAIL: 'ada@example.org',
        GIT_AUTHOR_DATE: `${seconds} +0000`,
        GIT_COMMITTER_NAME: 'Charles Babbage',
        GIT_COMMITTER_EMAIL: 'charles@example.org',
        GIT_COMMITTER_DATE: `${seconds + 1} +0000`,
      },
    }).trim();
  git('init', '--quiet', '--initial-branch=main', `--object-format=${options.objectFormat ?? 'sha1'}`);
  return {
    directory,
    git,
    commit(files, message = 'Change policies') {
      for (const [name, text] of Object.entries(files)) {
        const path = join(directory, name);
        if (text === null) rmSync(path, { recursive: true });
        else {
          mkdirSync(dirname(path), { recursive: true });
          writeFileSync(path, text);
        }
      }
      seconds += 60;
      git('add', '--all', '--force');
      git('commit', '--quiet', '--allow-empty', '-m', message);
      return git('rev-parse', 'HEAD');
    },
    destroy: () => rmSync(directory, { recursive: true, force: true }),
  };
}
