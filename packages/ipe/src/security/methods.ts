import { tokenKinds } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import type { TokenManager } from './manager.ts';
import type { TokenGrant } from './tokens.ts';

const namespacePattern = /^[a-z][a-z0-9_-]{0,63}$/;

/** `token-create`, `token-list` and `token-revoke` of the control plane. */
export function tokenHandlers(manager: () => TokenManager, nowSeconds: () => number): Handlers {
  return {
    'token-create': async (params) => {
      const { token, info } = await manager().create(readTokenGrant(params, nowSeconds()));
      return { ...info, token };
    },
    'token-list': async (params) => {
      readParams(params, []);
      return { tokens: await manager().list() };
    },
    'token-revoke': async (params) => {
      const id = readParams(params, ['id']).string('id', { maxBytes: 64, empty: false });
      return { ...(await manager().revoke(id)), revoked: true };
    },
  };
}

/**
 * Parameters of `token-create`: `kind`, `name`, and for service tokens `namespaces` and `verbs`, for application tokens
 * `grants`; `ttl` in seconds or `expires_at` in Unix seconds, absent: the token does not expire.
 * @throws IpeError `invalid_params`.
 */
export function readTokenGrant(params: unknown, nowSeconds: number): TokenGrant {
  const fields = readParams(params, ['kind', 'name', 'namespaces', 'verbs', 'grants', 'ttl', 'expires_at']);
  const kind = fields.oneOf('kind', tokenKinds);
  if (kind === undefined)
    throw fields.refuse('kind', `is missing; expected one of ${tokenKinds.map((each) => `\`${each}\``).join(', ')}`);
  const name = fields.string('name', { maxBytes: 128, empty: false });
  if (!/^[\p{L}\p{N}][\p{L}\p{N} ._@:/-]*$/u.test(name))
    throw fields.refuse('name', 'must start with a letter or digit, followed by those, spaces and `._@:/-`');
  const texts = (field: string) =>
    fields.raw(field) === undefined || fields.raw(field) === null
      ? undefined
      : fields.array(field, 64, (item, where) => {
          if (typeof item !== 'string')
            throw new IpeError('invalid_params', `\`${where}\` must be a string`, { details: { field: where } });
          return item;
        });
  const namespaces = texts('namespaces')?.map((each) => each.replace(/\.\*$/, ''));
  for (const namespace of namespaces ?? [])
    if (!namespacePattern.test(namespace))
      throw fields.refuse('namespaces', `has \`${namespace}\`, which is not the name of a namespace`);
  const verbs = texts('verbs');
  for (const verb of verbs ?? [])
    if (verb !== 'read' && verb !== 'write')
      throw fields.refuse('verbs', `takes \`read\` and \`write\`, not \`${verb}\``);
  const grants = texts('grants');
  for (const grant of grants ?? [])
    if (grant !== 'explain') throw fields.refuse('grants', `takes \`explain\`, not \`${grant}\``);
  if (kind !== 'service' && (namespaces ?? verbs) !== undefined)
    throw fields.refuse(
      namespaces === undefined ? 'verbs' : 'namespaces',
      `is for service tokens, not for \`${kind}\``,
    );
  const ttl = fields.optionalNumber('ttl', { min: 1 });
  const expiresAt = fields.optionalNumber('expires_at', { min: 1 });
  if (ttl !== undefined && expiresAt !== undefined) throw fields.refuse('ttl', 'and `expires_at` exclude each other');
  if (expiresAt !== undefined && expiresAt <= nowSeconds) throw fields.refuse('expires_at', 'is in the past');
  const expires = expiresAt ?? (ttl === undefined ? undefined : nowSeconds + ttl);
  return {
    kind,
    name,
    ...(namespaces === undefined ? {} : { namespaces }),
    ...(verbs === undefined ? {} : { verbs: verbs as ('read' | 'write')[] }),
    ...(grants === undefined ? {} : { grants }),
    ...(expires === undefined ? {} : { expires_at: expires }),
  };
}
