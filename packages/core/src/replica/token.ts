import { type Dot, dotsTag, type Source, type Sources } from './dot.ts';

/**
 * What a freshness token names: a record, so that any instance can tell whether it has it, and a commit of the instance
 * that gave the token out, so that a subscription can go on there.
 */
export interface Token {
  readonly namespace: string;
  readonly source: Source;
  readonly seq: number;
  /** Origin of the instance that gave the token out. */
  readonly instance: string;
  /** The commit after which a subscription goes on; 0: the token is not a place to go on from. */
  readonly commit: number;
  /** `commitTag` of that commit: numbers may be used again after a crash that lost some, tags are not. */
  readonly tag: string;
  /** Events of that commit are outstanding: it is delivered again as a whole. */
  readonly isPartial: boolean;
}

/** Tells a commit from another one of the same number. */
export function commitTag(record: Pick<Dot, 'source' | 'seq'>): string {
  return dotsTag([{ source: record.source, seq: record.seq, idx: 0 }]).slice(0, 8);
}

export const noTag = '0'.repeat(8);

/** `<namespace>~<origin>:<epoch>~<seq>~<instance>~<commit>~<tag>`, `+` behind a partial one: safe in headers and URLs. */
export function formatToken({ namespace, source, seq, instance, commit, tag, isPartial }: Token): string {
  return `${namespace}~${source.id}~${seq}~${instance}~${commit}~${tag}${isPartial ? '+' : ''}`;
}

const pattern =
  /^(_?[a-z][a-z0-9_-]{0,63})~([0-9a-f]{16}:[0-9a-f]{12})~(\d{1,15})~([0-9a-f]{16})~(\d{1,15})~([0-9a-f]{8})(\+?)$/;

/** Undefined for any other text. */
export function parseToken(text: string, sources: Sources): Token | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [, namespace, id, seq, instance, commit, tag, partial] = match;
  return {
    namespace: namespace!,
    source: sources.parse(id!)!,
    seq: Number(seq),
    instance: instance!,
    commit: Number(commit),
    tag: tag!,
    isPartial: partial === '+',
  };
}
