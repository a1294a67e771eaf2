import { IpeError } from '@ipe/core';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import type { Identity } from '../cluster/identity.ts';

/** The methods about other members, on a node that has none: it lists itself, and says what would make it a member. */
export function aloneHandlers({ id, origin, fingerprint }: Identity): Handlers {
  const refuse = (what: string, known: readonly string[]) => (params: unknown) => {
    readParams(params, known);
    throw new IpeError(
      'unavailable',
      `${what}: this node is on its own; set \`listen\` in [cluster] and start it again`,
    );
  };
  return {
    members: (params) => {
      readParams(params, []);
      return {
        members: [{ id, origin, state: 'active', peer: null, linked: false, fingerprint, heard: null, lag: {} }],
      };
    },
    'member-invite': refuse('nobody can be invited', ['ttl']),
    evict: refuse('there is nobody to evict', ['member']),
    'member-promote': refuse('there is nobody to promote', ['member']),
    'sync-from-peer': refuse('there is nobody to sync policies from', ['peer']),
  };
}
