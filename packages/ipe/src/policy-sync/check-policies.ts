import { IpeError } from '@ipe/core';
import type { PolicyStore } from '@ipe/core/tree';
import type { PolicyCompiler, PolicyText } from '../policies/types.ts';

const slicePolicies = 200;

/**
 * Compiles every policy that `to` has and `from` has not from its source, and compares program and manifest byte by byte: a program that
 * says something else than its source is never served.
 * @throws IpeError `corrupt` naming the policy
 */
export async function checkPolicies(
  store: PolicyStore,
  compiler: PolicyCompiler,
  from: string,
  to: string,
): Promise<void> {
  const entries = await store.diff(from, to);
  const changed = entries.filter(({ after, parts }) => after !== null && parts.some((part) => part !== 'test'));
  const snapshot = await store.at(to);
  for (let at = 0; at < changed.length; at += slicePolicies) {
    const stored = await Promise.all(
      changed.slice(at, at + slicePolicies).map(async ({ path }) => {
        const policy = await snapshot.readPolicy(path);
        if (policy === undefined) throw new IpeError('corrupt', `\`${path}\` is named by a tree and is not there`);
        return { path, files: policy.files };
      }),
    );
    const texts = stored.map(
      ({ path, files }): PolicyText => ({ path, source: Buffer.from(files.source).toString('utf8') }),
    );
    const compiled = await compiler.compile(texts);
    for (const [i, { path, files }] of stored.entries()) {
      const made = compiled[i]?.files;
      const isSame =
        made !== undefined &&
        Buffer.compare(made.program, files.program) === 0 &&
        Buffer.compare(made.manifest, files.manifest) === 0;
      if (isSame) continue;
      throw new IpeError(
        'corrupt',
        `the program of \`${path}\` is not what its source compiles to here (${compiler.version}); where the origin runs another version, update this instance`,
        { details: { path } },
      );
    }
  }
}
