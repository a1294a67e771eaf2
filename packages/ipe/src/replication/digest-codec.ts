import { IpeError } from '@ipe/core';
import type { Cuts, DigestAnswer, DigestQuestion, RootAnswer, Source, Sources } from '@ipe/core/replica';

/** A question as it travels. Digests under different keys have nothing in common: `keyId` tells. */
interface QuestionJson {
  readonly kind: DigestQuestion['kind'];
  readonly keyId: string;
  readonly cuts: readonly [expiringHour: number, deletedHour: number];
  readonly namespaces?: readonly string[];
  readonly namespace?: string;
  readonly branches?: readonly number[];
}

interface AnswerJson {
  readonly kind: DigestAnswer['kind'];
  readonly cuts: QuestionJson['cuts'];
  readonly namespaces?: Readonly<
    Record<string, readonly [strategy: string, root: readonly number[], heads: Readonly<Record<string, number>>]>
  >;
}

/** JSON text of a question. */
export function encodeQuestion(question: DigestQuestion, keyId: string): Uint8Array {
  const json: QuestionJson = { ...question, keyId, cuts: pairOf(question.cuts) };
  return Buffer.from(JSON.stringify(json));
}

/** @throws IpeError `invalid_request` for anything that `encodeQuestion` does not write */
export function decodeQuestion(body: Uint8Array): { readonly question: DigestQuestion; readonly keyId: string } {
  return reading(() => {
    const { kind, keyId, cuts: pair, namespaces, namespace, branches } = JSON.parse(textOf(body)) as QuestionJson;
    const cuts = cutsOf(pair);
    if (typeof keyId !== 'string') throw new TypeError('`keyId`');
    if (kind === 'roots') return { keyId, question: { kind, cuts, namespaces: list(namespaces, isText) } };
    if (typeof namespace !== 'string') throw new TypeError('`namespace`');
    if (kind === 'branches') return { keyId, question: { kind, cuts, namespace } };
    if (kind !== 'leaves') throw new TypeError('`kind`');
    const distinct = [...new Set(list<number>(branches, isByte))];
    return { keyId, question: { kind, cuts, namespace, branches: distinct } };
  });
}

/** `u32 length | JSON | words, least byte first`. */
export function encodeAnswer(answer: DigestAnswer): Uint8Array {
  const { kind, cuts } = answer;
  const namespaces: Record<string, readonly [string, readonly number[], Record<string, number>]> = {};
  if (answer.kind === 'roots')
    for (const [name, { strategy, root, heads }] of answer.namespaces) {
      const seqs = Object.fromEntries([...heads].map(([source, seq]) => [source.id, seq]));
      namespaces[name] = [strategy, [...root], seqs];
    }
  const json: AnswerJson = { kind, cuts: pairOf(cuts), ...(kind === 'roots' && { namespaces }) };
  const front = Buffer.from(JSON.stringify(json));
  const words = answer.kind === 'roots' ? new Int32Array() : answer.words;
  const bytes = Buffer.alloc(4 + front.length + words.length * 4);
  bytes.writeUInt32BE(front.length, 0);
  bytes.set(front, 4);
  const view = new DataView(bytes.buffer, bytes.byteOffset + 4 + front.length);
  for (let i = 0; i < words.length; i++) view.setInt32(4 * i, words[i]!, true);
  return bytes;
}

/** @throws IpeError `invalid_request` for anything that `encodeAnswer` does not write */
export function decodeAnswer(body: Uint8Array, sources: Sources): DigestAnswer {
  return reading(() => {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    const end = 4 + view.getUint32(0);
    const json = JSON.parse(textOf(body.subarray(4, end))) as AnswerJson;
    const cuts = cutsOf(json.cuts);
    if (json.kind === 'branches' || json.kind === 'leaves') {
      const words = new Int32Array((body.length - end) / 4);
      for (let i = 0; i < words.length; i++) words[i] = view.getInt32(end + 4 * i, true);
      return { kind: json.kind, cuts, words };
    }
    if (json.kind !== 'roots') throw new TypeError('`kind`');
    const namespaces = new Map<string, RootAnswer>();
    for (const [name, [strategy, root, seqs]] of Object.entries(json.namespaces ?? {})) {
      const heads = new Map<Source, number>();
      for (const [id, seq] of Object.entries(seqs)) {
        const source = sources.parse(id);
        if (source === undefined || !Number.isSafeInteger(seq)) throw new TypeError(`head \`${id}\``);
        heads.set(source, seq);
      }
      namespaces.set(name, { strategy, heads, root: Int32Array.from(list(root, Number.isInteger)) });
    }
    return { kind: 'roots', cuts, namespaces };
  });
}

const pairOf = ({ expiringHour, deletedHour }: Cuts) => [expiringHour, deletedHour] as const;

function cutsOf(pair: unknown): Cuts {
  const [expiringHour, deletedHour] = list(pair, Number.isSafeInteger) as number[];
  if (expiringHour === undefined || deletedHour === undefined) throw new TypeError('`cuts`');
  return { expiringHour, deletedHour };
}

function list<Item>(value: unknown, isItem: (item: unknown) => boolean): readonly Item[] {
  if (!Array.isArray(value) || !value.every(isItem)) throw new TypeError('a list');
  return value as readonly Item[];
}

const isText = (item: unknown) => typeof item === 'string';
const isByte = (item: unknown) => Number.isInteger(item) && (item as number) >= 0 && (item as number) < 256;
const textOf = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');

function reading<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (cause) {
    throw new IpeError(
      'invalid_request',
      `what a peer sent of its digests cannot be read: ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
}
