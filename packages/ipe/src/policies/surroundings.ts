import type { PolicySnapshot } from '@ipe/core/tree';
import type { ProgramAt, Surroundings } from './types.ts';

/** What a snapshot holds besides the paths that a set replaces or removes. */
export function surroundingsOf(snapshot: PolicySnapshot, touched: (path: string) => boolean): Surroundings {
  return {
    async programsAt(path) {
      const programs: ProgramAt[] = [];
      for (const policy of await snapshot.policiesBelow(path)) {
        if (touched(policy.path)) continue;
        const stored = await snapshot.readPolicy(policy.path);
        if (stored !== undefined) programs.push({ path: policy.path, program: stored.files.program });
      }
      return programs;
    },
  };
}
