import { IpeError } from '@ipe/core';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import type { MemberRecord } from '../cluster/members.ts';
import type { Membership } from '../cluster/membership.ts';
import type { Peers } from '../cluster/peers.ts';
import type { Replication } from '../replication/index.ts';

const inviteTtlDefaultSeconds = 3_600;

export interface MemberMethodsOptions {
  readonly membership: Pick<Membership, 'directory' | 'invite' | 'originOf' | 'evict'>;
  readonly peers: Pick<Peers, 'link'>;
  readonly replication: Pick<Replication, 'status' | 'heldOf' | 'mayHoldAlone' | 'heardAges'>;
  /** Where this instance answers its peers; null: it only dials. */
  readonly address: string | null;
}

/** The control plane's methods about members. */
export function memberHandlers({ membership, peers, replication, address }: MemberMethodsOptions): Handlers {
  return {
    members: () => {
      const lag = replication.status().lag;
      const heard = replication.heardAges();
      return {
        members: membership.directory.list().map(({ body }) => ({
          id: body.id,
          origin: body.origin,
          state: body.state,
          peer: body.address,
          linked: peers.link(body.fingerprint) !== undefined,
          fingerprint: body.fingerprint,
          heard: secondsOf(heard.get(body.origin)),
          lag: Object.fromEntries(
            lag
              .filter(({ peer }) => peer === body.origin)
              .map(({ namespace, behind, ahead }) => [namespace, { behind, ahead }]),
          ),
        })),
      };
    },
    'member-invite': async (params) => {
      const fields = readParams(params, ['ttl']);
      const ttlSeconds = fields.optionalNumber('ttl') ?? inviteTtlDefaultSeconds;
      if (ttlSeconds <= 0) throw new IpeError('invalid_params', '`ttl` must be a positive number of seconds');
      return { token: await membership.invite(address, ttlSeconds * 1_000), expires_in: ttlSeconds, address };
    },
    evict: (params) => {
      const fields = readParams(params, ['member', 'force']);
      const member = fields.string('member');
      const origin = membership.originOf(member);
      if (!fields.boolean('force', false) && replication.mayHoldAlone(origin))
        throw new IpeError(
          'conflict',
          `\`${member}\` may be the only one that holds acknowledged writes of a member that was evicted before it, which its eviction gives up; let the others hear it first, or evict with \`force\``,
          { details: { member: origin }, state: 'unchanged' },
        );
      const signed = membership.evict(origin, replication.heldOf(origin), 'operator');
      return { member: summary(signed.body) };
    },
  };
}

/** Null for this instance itself and for those that are evicted. */
const secondsOf = (ageMs: number | undefined) => (ageMs === undefined ? null : Math.round(ageMs / 1_000));

const summary = ({ id, origin, state, sequence }: MemberRecord) => ({ id, origin, state, sequence });
