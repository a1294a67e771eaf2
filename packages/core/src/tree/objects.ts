import { fromHex, type Primitives } from '../bytes/index.ts';
import { IpeError, isIpeError } from '../errors.ts';
import { checkTree, framedId, frameObject, type GitObject, type ObjectType, unframeObject } from '../git/index.ts';
import type { Kv, KvOperation } from '../store/index.ts';
import { LruCache } from './lru.ts';
import type { Codec, ObjectId, PolicyFamily } from './types.ts';

/** Largest object the store takes or gives back, framed. */
export const maxObjectBytes = 16 * 1024 * 1024;

/** Objects smaller than this are stored as they are. */
const deflateFrom = 512;

const packing = { raw: 0, zlib: 1 } as const;

/** An object by its id, ready to be packed and written. */
export interface PreparedObject {
  readonly id: ObjectId;
  readonly type: ObjectType;
  readonly body: Uint8Array;
}

/** What `ObjectStore` is built from. */
export interface ObjectStoreOptions {
  readonly kv: Kv<PolicyFamily>;
  readonly primitives: Primitives;
  readonly codec: Codec;
  readonly now: () => number;
  /** Bytes of verified directory trees kept in memory. */
  readonly treeCacheBytes: number;
  readonly cacheAgeMs: number;
}

/**
 * Git objects by id, over the `objects` family: a codec byte (0 raw, 1 zlib), then the framed object.
 *
 * Everything read is hashed and compared with the id it was asked by, so what is handed out is what was put in.
 */
export class ObjectStore {
  readonly #kv: Kv<PolicyFamily>;
  readonly #primitives: Primitives;
  readonly #codec: Codec;
  readonly #trees: LruCache<ObjectId, Uint8Array>;

  constructor(options: ObjectStoreOptions) {
    this.#kv = options.kv;
    this.#primitives = options.primitives;
    this.#codec = options.codec;
    this.#trees = new LruCache({
      maxBytes: options.treeCacheBytes,
      maxAgeMs: options.cacheAgeMs,
      sizeOf: (body) => body.length + 200,
      now: options.now,
    });
  }

  /** @throws IpeError `corrupt` when the object is missing, damaged, or not of the kind asked. */
  async read(id: ObjectId, type: ObjectType): Promise<Uint8Array> {
    const stored = await this.#kv.get('objects', fromHex(id));
    return this.#expect(id, type, stored);
  }

  /** Bodies in the order of `wanted`, in one trip. @throws as `read` */
  async readMany(wanted: readonly (readonly [id: ObjectId, type: ObjectType])[]): Promise<Uint8Array[]> {
    const keys = wanted.map(([id]) => fromHex(id));
    const stored = await this.#kv.getMany('objects', keys);
    return wanted.map(([id, type], i) => this.#expect(id, type, stored[i]));
  }

  /** A tree's body, from memory where it was read or written lately. Do not write to it. @throws as `read` */
  async readTree(id: ObjectId): Promise<Uint8Array> {
    const cached = this.#trees.get(id);
    if (cached !== undefined) return cached;
    const body = await this.read(id, 'tree');
    // A tree that was hashed right can still be one we never write: an object brought in from elsewhere.
    checkTree(body);
    this.#trees.set(id, body);
    return body;
  }

  /** As `readMany`, but in place of an object that cannot be read stands the error that says so. */
  async tryReadMany(
    wanted: readonly (readonly [id: ObjectId, type: ObjectType])[],
  ): Promise<(Uint8Array | IpeError)[]> {
    const keys = wanted.map(([id]) => fromHex(id));
    const stored = await this.#kv.getMany('objects', keys);
    return wanted.map(([id, type], i) => {
      try {
        const body = this.#expect(id, type, stored[i]);
        if (type === 'tree') checkTree(body);
        return body;
      } catch (error) {
        if (isIpeError(error)) return error;
        throw error;
      }
    });
  }

  /** The object, or undefined where there is none. @throws IpeError `corrupt` when it is damaged. */
  async find(id: ObjectId): Promise<GitObject | undefined> {
    const stored = await this.#kv.get('objects', fromHex(id));
    return stored === undefined ? undefined : this.decode(id, stored);
  }

  /** Those of `ids` that the store does not hold. */
  async missing(ids: readonly ObjectId[]): Promise<Set<ObjectId>> {
    const missing = new Set<ObjectId>();
    for (let at = 0; at < ids.length; at += 256) {
      const slice = ids.slice(at, at + 256);
      const keys = slice.map((id) => fromHex(id));
      const stored = await this.#kv.getMany('objects', keys);
      for (let i = 0; i < slice.length; i++) if (stored[i] === undefined) missing.add(slice[i]!);
    }
    return missing;
  }

  /** Names an object by its hash. @throws IpeError `too_large` */
  prepare(type: ObjectType, body: Uint8Array): PreparedObject {
    const framed = frameObject(type, body);
    if (framed.length > maxObjectBytes) {
      const message = `an object of ${framed.length} bytes is larger than the ${maxObjectBytes} that the store takes`;
      throw new IpeError('too_large', message, { details: { sizeBytes: framed.length, limitBytes: maxObjectBytes } });
    }
    return { id: framedId(this.#primitives, framed), type, body };
  }

  /** Packs an object: what stores it. */
  operation({ id, type, body }: PreparedObject): KvOperation<PolicyFamily> {
    const value = this.#pack(type, frameObject(type, body));
    return { type: 'put', family: 'objects', key: fromHex(id), value };
  }

  /** Keeps a tree just written at hand: the next update of the same directory starts from it. */
  remember(object: PreparedObject): void {
    if (object.type === 'tree') this.#trees.set(object.id, object.body);
  }

  /** Verified object from its stored bytes. @throws IpeError `corrupt` naming `id` */
  decode(id: ObjectId, stored: Uint8Array): GitObject {
    let framed: Uint8Array;
    try {
      if (stored[0] === packing.raw) framed = stored.subarray(1);
      else if (stored[0] === packing.zlib) framed = this.#codec.inflate(stored.subarray(1), maxObjectBytes);
      else throw damaged(id);
      if (framedId(this.#primitives, framed) !== id) throw damaged(id);
    } catch (cause) {
      throw damaged(id, cause);
    }
    return unframeObject(framed);
  }

  /** Drops cached trees, so that the next reads see the disk. */
  forget(): void {
    this.#trees.clear();
  }

  #expect(id: ObjectId, type: ObjectType, stored: Uint8Array | undefined): Uint8Array {
    if (stored === undefined) {
      const details = { object: id, problem: 'missing' };
      throw new IpeError('corrupt', `object \`${id}\` is missing; restore it from a backup or a peer`, { details });
    }
    const object = this.decode(id, stored);
    if (object.type !== type) {
      const details = { object: id, problem: 'kind' };
      throw new IpeError('corrupt', `object \`${id}\` is a ${object.type} where a ${type} belongs`, { details });
    }
    return object.body;
  }

  /** Trees and small objects are left as they are: half of their bytes are hashes, or there is little to win. */
  #pack(type: ObjectType, framed: Uint8Array): Uint8Array {
    const deflated = type === 'tree' || framed.length < deflateFrom ? undefined : this.#codec.deflate(framed);
    const small = deflated !== undefined && deflated.length < framed.length;
    const payload = small ? deflated : framed;
    const value = new Uint8Array(payload.length + 1);
    value[0] = small ? packing.zlib : packing.raw;
    value.set(payload, 1);
    return value;
  }
}

function damaged(id: ObjectId, cause?: unknown): IpeError {
  const details = { object: id, problem: 'damaged' };
  const message = `object \`${id}\` is damaged: its bytes do not have that hash; restore it from a backup or a peer`;
  return new IpeError('corrupt', message, { details, ...(cause === undefined ? {} : { cause }) });
}
