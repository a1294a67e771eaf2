import type { Source, Sources } from './dot.ts';

/**
 * What a freshness token names: a record, so that any instance can tell whether it has it, and the commit under which
 * one instance applied it, so that a subscription can go on there.
 */
export interface Token {
  readonly namespace: string;
  readonly source: Source;
  readonly seq: number;
  /** Origin of the instance that gave the token out. */
  readonly instance: string;
  readonly commit: number;
}

/** `<namespace>~<origin>:<epoch>~<seq>~<instance>~<commit>`: safe in a header and in a URL. */
export function formatToken(token: Token): string {
  return `${token.namespace}~${token.source.id}~${token.seq}~${token.instance}~${token.commit}`;
}

/** Undefined for any other text. */
export function parseToken(text: string, sources: Sources): Token | undefined {
  const match = /^(_?[a-z][a-z0-9_-]{0,63})~([0-9a-f]{16}:[0-9a-f]{12})~(\d{1,15})~([0-9a-f]{16})~(\d{1,15})$/.exec(
    text,
  );
  if (match === null) return undefined;
  const [, namespace, id, seq, instance, commit] = match;
  return {
    namespace: namespace!,
    source: sources.parse(id!)!,
    seq: Number(seq),
    instance: instance!,
    commit: Number(commit),
  };
}
