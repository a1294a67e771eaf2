import type { Plane } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import type { Caller } from '../api/method.ts';
import { hashToken, sameHash, type TokenRecord } from './tokens.ts';

/** What the listeners ask about a request's credentials. */
export interface Authenticator {
  /**
   * Who sends `Authorization: Bearer <token>`.
   * @throws IpeError `unauthenticated`.
   */
  authenticate(authorization: string | undefined): Caller;
  /** Whether a caller established earlier may go on: its token is neither revoked nor expired. */
  stands(caller: Caller): boolean;
  /** Calls `listener` after tokens were added or revoked; returns how to stop. */
  onChange(listener: () => void): () => void;
}

/** The configuration's rights over writes, beside those of the tokens. */
export interface WriteRules {
  /** Names of the services that may write at all; absent: all. */
  readonly allowedWriters?: readonly string[];
  /** Writers by namespace; one that is not listed is open to every allowed writer. */
  readonly namespaceAuth?: ReadonlyMap<string, ReadonlySet<string>>;
  /** `false` opens all namespaces but the reserved ones to every service token. */
  readonly enforceNamespaces: boolean;
}

/** The tokens of a node, in memory, hashed. */
export class TokenRegistry implements Authenticator {
  readonly #nowSeconds: () => number;
  readonly #rules: WriteRules;
  #byHash = new Map<string, { record: TokenRecord; caller: Caller }>();
  #byId = new Map<string, TokenRecord>();
  readonly #listeners = new Set<() => void>();

  constructor(options: { nowSeconds: () => number; rules: WriteRules }) {
    this.#nowSeconds = options.nowSeconds;
    this.#rules = options.rules;
  }

  /** Replaces all tokens; those that are missing stop working at once, on open sessions too. */
  replace(records: Iterable<TokenRecord>): void {
    this.#byHash = new Map();
    this.#byId = new Map();
    for (const record of records) {
      this.#byHash.set(record.hash, { record, caller: this.#callerOf(record) });
      this.#byId.set(record.id, record);
    }
    for (const listener of this.#listeners) listener();
  }

  authenticate(authorization: string | undefined): Caller {
    if (authorization === undefined) throw unauthenticated('no token: send `Authorization: Bearer <token>`');
    const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
    if (token === undefined || token.length > 1024) throw unauthenticated('expected `Authorization: Bearer <token>`');
    const hash = hashToken(token);
    const found = this.#byHash.get(hash);
    if (found === undefined || !sameHash(found.record.hash, hash))
      throw unauthenticated('the token is unknown or was revoked');
    if (this.#expired(found.record)) throw unauthenticated('the token has expired');
    return found.caller;
  }

  stands(caller: Caller): boolean {
    const record = this.#byId.get(caller.tokenId);
    return record !== undefined && !this.#expired(record);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #expired(record: TokenRecord): boolean {
    return record.expires_at !== undefined && record.expires_at <= this.#nowSeconds();
  }

  #callerOf(record: TokenRecord): Caller {
    const caller: Caller = { kind: record.kind, tokenId: record.id, name: record.name };
    const grants = record.grants === undefined ? {} : { grants: record.grants };
    if (record.kind !== 'service') return { ...caller, ...grants };
    const { allowedWriters, namespaceAuth, enforceNamespaces } = this.#rules;
    return {
      ...caller,
      ...grants,
      ...(record.namespaces === undefined || !enforceNamespaces ? {} : { namespaces: record.namespaces }),
      ...(record.verbs === undefined ? {} : { verbs: record.verbs }),
      mayWrite: (namespace) =>
        (allowedWriters === undefined || allowedWriters.includes(record.name)) &&
        (namespaceAuth?.get(namespace)?.has(record.name) ?? true),
    };
  }
}

const unauthenticated = (message: string) => new IpeError('unauthenticated', message);

const localKind = { control: 'admin', data: 'service', evaluation: 'application' } as const;

/** Lets everyone in who can open the unix socket: `require_auth = false`. */
export function openDoor(plane: Plane): Authenticator {
  const caller: Caller = { kind: localKind[plane], tokenId: 'local', name: 'local' };
  return { authenticate: () => caller, stands: () => true, onChange: () => () => {} };
}
