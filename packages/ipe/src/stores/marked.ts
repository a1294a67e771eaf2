import type { Kv, KvOperation } from '@ipe/core/store';
import { assertReaches, type Mark, type MarkOptions, openMark } from './mark.ts';

/** What `markKv` needs to know. */
interface MarkedKvOptions<Family extends string> {
  readonly inner: Kv<Family>;
  readonly mark: Mark;
  /** Family that holds the count of batches, in a row that nobody else names: `\xffbatches`. */
  readonly family: Family;
  /** What the store is called in messages: `policy store`. */
  readonly name: string;
}

const countKey = new Uint8Array([0xff, ...Buffer.from('batches')]);

/** What `openMarkedKv` needs to know. */
export interface OpenMarkedKvOptions<Family extends string>
  extends Pick<MarkedKvOptions<Family>, 'family' | 'name'>,
    Pick<MarkOptions, 'onError'> {
  readonly open: () => Promise<Kv<Family>>;
  /** File of the mark, made when absent. */
  readonly markPath: string;
}

/**
 * Opens a store and its mark, and holds the one to the other. The returned store owns both.
 * @throws as `open`, `openMark` and `markKv` do; nothing stays open then
 */
export async function openMarkedKv<Family extends string>(options: OpenMarkedKvOptions<Family>): Promise<Kv<Family>> {
  const { open, markPath, family, name, onError } = options;
  const inner = await open();
  try {
    const mark = await openMark(markPath, onError && { onError });
    return await markKv({ inner, mark, family, name }).catch(async (error) => {
      await mark.close();
      throw error;
    });
  } catch (error) {
    await inner.close();
    throw error;
  }
}

/**
 * Holds a store to its mark, for owners that do not number their commits: each batch carries the count of all batches,
 * and the mark follows what was synced. A log that was cut or deleted leaves a count below the mark.
 *
 * The store and the mark are closed with the returned one.
 * @throws IpeError `corrupt`, naming how many batches are missing; nothing is closed then
 */
async function markKv<Family extends string>(options: MarkedKvOptions<Family>): Promise<Kv<Family>> {
  const { inner, mark, family, name } = options;
  let count = decodeCount(await inner.get(family, countKey));
  let written = count;
  assertReaches(mark, count, name);

  const write = async (operations: readonly KvOperation<Family>[]): Promise<void> => {
    if (operations.length === 0) return inner.write(operations);
    const number = ++count;
    await inner.write([...operations, { type: 'put', family, key: countKey, value: encodeCount(number) }]);
    written = Math.max(written, number);
  };
  const sync = async (): Promise<void> => {
    const number = written;
    await inner.sync();
    mark.advance(number);
  };
  return {
    families: inner.families,
    get: (...args) => inner.get(...args),
    getMany: (...args) => inner.getMany(...args),
    entries: (...args) => inner.entries(...args),
    recover: () => inner.recover(),
    snapshot: () => inner.snapshot(),
    size: () => inner.size(),
    compact: (...args) => inner.compact(...args),
    write,
    sync,
    close: async () => {
      await inner.close();
      await mark.close();
    },
  };
}

function encodeCount(count: number): Uint8Array {
  const bytes = Buffer.alloc(6);
  bytes.writeUIntBE(count, 0, 6);
  return bytes;
}

function decodeCount(bytes: Uint8Array | undefined): number {
  return bytes === undefined ? 0 : Buffer.from(bytes).readUIntBE(0, 6);
}
