import { fromHex, toHex } from '../bytes/index.ts';
import { ByteReader, ByteWriter } from './codec.ts';
import { compareSources, type Dot, dotsTag, type Source, type Sources } from './dot.ts';

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
  /** `commitTag` of that commit: numbers may be used again after a crash that lost some, or in an emptied store; tags are not. */
  readonly tag: string;
  /**
   * Events of that commit are outstanding: it is delivered again as a whole. Of a bookmark (`seq` 0): states that came in
   * behind that commit were told too, and `tag` is the `joinedTag` that tells which.
   */
  readonly isPartial: boolean;
  /** Everything that was told with it, so that another instance can go on: by source, all records up to one. */
  readonly vector?: ReadonlyMap<Source, number> | undefined;
}

/** Sources that a token lists; with more, only the instance that gave it out goes on from it. */
const vectorSourcesMax = 64;

/** Tells a commit from another one of the same number. @param logId of the log that it counts in */
export function commitTag({ source, seq }: Pick<Dot, 'source' | 'seq'>, logId: number): string {
  return dotsTag([{ source, seq, idx: logId }]).slice(0, 8);
}

export const noTag = '0'.repeat(8);

/**
 * `<namespace>~<origin>:<epoch>~<seq>~<instance>~<commit>~<tag>`, `+` behind a partial one, then `~<vector>` where there
 * is one: safe in headers and URLs.
 */
export function formatToken({ namespace, source, seq, instance, commit, tag, isPartial, vector }: Token): string {
  const place = `${namespace}~${source.id}~${seq}~${instance}~${commit}~${tag}${isPartial ? '+' : ''}`;
  if (vector === undefined || vector.size === 0 || vector.size > vectorSourcesMax) return place;
  const out = new ByteWriter(vector.size * 20);
  for (const [each, head] of [...vector].sort(([a], [b]) => compareSources(a, b))) {
    out.source(each);
    out.uint(head);
  }
  return `${place}~${toHex(out.take())}`;
}

const pattern =
  /^(_?[a-z][a-z0-9_-]{0,63})~([0-9a-f]{16}:[0-9a-f]{12})~(\d{1,15})~([0-9a-f]{16})~(\d{1,15})~([0-9a-f]{8})(\+?)(?:~((?:[0-9a-f]{2})+))?$/;

/** Undefined for any other text. */
export function parseToken(text: string, sources: Sources): Token | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [, namespace, id, seq, instance, commit, tag, partial, vectorText] = match;
  const vector = vectorText === undefined ? undefined : parseVector(vectorText, sources);
  if (vector === 'malformed') return undefined;
  return {
    namespace: namespace!,
    source: sources.parse(id!)!,
    seq: Number(seq),
    instance: instance!,
    commit: Number(commit),
    tag: tag!,
    isPartial: partial === '+',
    ...(vector !== undefined && { vector }),
  };
}

function parseVector(hex: string, sources: Sources): ReadonlyMap<Source, number> | 'malformed' {
  const vector = new Map<Source, number>();
  try {
    const input = new ByteReader(fromHex(hex), sources);
    while (input.remaining > 0) {
      if (vector.size === vectorSourcesMax) return 'malformed';
      vector.set(input.source(), input.uint());
    }
  } catch {
    return 'malformed';
  }
  return vector;
}
