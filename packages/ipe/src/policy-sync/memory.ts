import { IpeError } from '@ipe/core';
import { readIfPresent, writePrivate } from '../cluster/identity.ts';
import type { SignedRoot, SignedTerm } from './records.ts';

/** What outlives a restart. Only what was verified, or signed here, is ever written. */
export interface SyncMemory {
  readonly term: SignedTerm | null;
  /** Newest root record whose content is in the store. */
  readonly head: SignedRoot | null;
  /** Whether this instance was the origin of some term: then it follows once another is. */
  readonly wasOrigin: boolean;
}

export interface MemoryFile {
  load(): Promise<SyncMemory>;
  save(memory: SyncMemory): Promise<void>;
}

export const noMemory: SyncMemory = { term: null, head: null, wasOrigin: false };

/** @throws IpeError `corrupt` from `load`, naming the file: forgetting what was verified would let a rollback in. */
export function memoryFile(path: string): MemoryFile {
  return {
    load: async () => {
      const text = await readIfPresent(path);
      if (text === undefined) return noMemory;
      try {
        return { ...noMemory, ...(JSON.parse(text) as SyncMemory) };
      } catch (cause) {
        throw new IpeError('corrupt', `\`${path}\` is damaged; without it an older root could pass for a new one`, {
          cause,
        });
      }
    },
    save: (memory) => writePrivate(path, `${JSON.stringify(memory)}\n`),
  };
}
