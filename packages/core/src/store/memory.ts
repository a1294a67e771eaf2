import { IpeError } from '../errors.ts';
import type { Kv, KvEntry, KvOperation, KvRange, KvSnapshot } from './kv.ts';
import { type Edit, emptyMap, mapDelete, mapEntries, mapGet, mapSet, type SortedMap } from './sorted-map.ts';

/** What `openMemoryKv` needs to know. */
export interface MemoryKvOptions<Family extends string> {
  /** Families the store has; one that `disk` does not hold yet starts empty. */
  readonly families: readonly Family[];
  /** Where synced batches survive `close` and crashes. Without it nothing outlives the store. */
  readonly disk?: MemoryDisk;
}

/**
 * A store in memory: the reference for every other backend, and the fixture of tests.
 *
 * Point reads and writes touch one hash map; the sorted tree that ranges and snapshots need is brought up to date when
 * one is asked for. A snapshot is a reference to that tree and costs nothing to hold but the versions it keeps alive.
 *
 * @example
 * const kv = openMemoryKv({ families: ['objects', 'metadata'] });
 * await kv.write([{ type: 'put', family: 'objects', key, value }]);
 */
export function openMemoryKv<Family extends string>(options: MemoryKvOptions<Family>): Kv<Family> {
  return new MemoryKv(options.families, options.disk);
}

/**
 * An imitated disk. A store opened on it starts from the last synced state; what was only written is lost in a crash,
 * from the newest batch backwards, as a write-ahead log loses its tail.
 *
 * @example
 * const disk = createMemoryDisk();
 * const before = openMemoryKv({ families, disk });
 * await before.write(batch); // not synced
 * disk.crash();              // `before` is dead from here on
 * const after = openMemoryKv({ families, disk }); // without `batch`
 */
export function createMemoryDisk(): MemoryDisk {
  return new MemoryDisk();
}

/** One family's content at a moment. Never changes once taken. */
interface Image {
  readonly map: SortedMap<Uint8Array>;
  readonly sizeBytes: number;
}

export class MemoryDisk {
  /** Set to make writes fail as on a full disk, leaving the state as it was. */
  full = false;
  /** Set to make the next sync fail, which fences the store that called it. */
  failNextSync = false;
  /** Set to make syncs fail for want of room, which fences the store until it recovers. */
  fullAtSync = false;
  /** How many unsynced batches a store that recovers still finds. */
  keptAtRecovery = 0;
  #durable: ReadonlyMap<string, Image> = new Map();
  /** States after each batch written since the last sync, oldest first. */
  #unsynced: ReadonlyMap<string, Image>[] = [];
  #holder: { kill(): void } | undefined;

  /**
   * Kills the store that is open on this disk; unsynced batches are lost but for the first `keepBatches`.
   * @returns how many unsynced batches there were
   */
  crash(keepBatches = 0): number {
    const count = this.#unsynced.length;
    const kept = this.#unsynced[Math.min(keepBatches, count) - 1];
    if (kept !== undefined) this.#durable = kept;
    this.#holder?.kill();
    this.release();
    return count;
  }

  /** What is left of the batches that no sync covered, for a store that goes on. */
  recover(): ReadonlyMap<string, Image> {
    this.#durable = this.#unsynced[Math.min(this.keptAtRecovery, this.#unsynced.length) - 1] ?? this.#durable;
    this.#unsynced = [];
    return this.#durable;
  }

  /** Taken by a store while it is open. @throws IpeError `unavailable` when another holds the disk. */
  acquire(holder: { kill(): void }): ReadonlyMap<string, Image> {
    if (this.#holder !== undefined)
      throw new IpeError('unavailable', 'the store is open already; close it before opening it again');
    this.#holder = holder;
    return this.#durable;
  }

  release(): void {
    this.#holder = undefined;
    this.#unsynced = [];
  }

  record(state: ReadonlyMap<string, Image>): void {
    this.#unsynced.push(state);
  }

  sync(): void {
    this.#durable = this.#unsynced.at(-1) ?? this.#durable;
    this.#unsynced = [];
  }
}

class FamilyState {
  readonly live = new Map<string, Uint8Array>();
  sizeBytes = 0;
  #map: SortedMap<Uint8Array>;
  #edit: Edit = {};
  /** Keys whose state in `live` the tree has not seen yet. */
  #stale: string[] = [];

  constructor(image: Image | undefined) {
    this.#map = image?.map ?? emptyMap<Uint8Array>(this.#edit);
    if (image === undefined) return;
    this.sizeBytes = image.sizeBytes;
    for (const [key, value] of mapEntries(image.map, '', undefined, false)) this.live.set(key, value);
  }

  put(key: string, value: Uint8Array): void {
    const old = this.live.get(key);
    this.sizeBytes += value.length - (old === undefined ? -key.length : old.length);
    this.live.set(key, value);
    this.#touch(key);
  }

  delete(key: string): void {
    const old = this.live.get(key);
    if (old === undefined) return;
    this.sizeBytes -= key.length + old.length;
    this.live.delete(key);
    this.#touch(key);
  }

  /** The content as of now, for good: later changes copy what they touch. */
  freeze(): Image {
    this.#settle();
    this.#edit = {};
    return { map: this.#map, sizeBytes: this.sizeBytes };
  }

  #touch(key: string): void {
    this.#stale.push(key);
    // Overwriting few keys for ever must not grow the list for ever.
    if (this.#stale.length > 2 * this.live.size + 4096) this.#settle();
  }

  #settle(): void {
    for (const key of this.#stale) {
      const value = this.live.get(key);
      this.#map =
        value === undefined ? mapDelete(this.#map, this.#edit, key) : mapSet(this.#map, this.#edit, key, value);
    }
    this.#stale = [];
  }
}

class MemoryKv<Family extends string> implements Kv<Family> {
  readonly families: readonly Family[];
  readonly #states = new Map<string, FamilyState>();
  readonly #disk: MemoryDisk | undefined;
  #closed: string | undefined;
  #fenced: 'for good' | 'without room' | undefined;

  constructor(families: readonly Family[], disk: MemoryDisk | undefined) {
    this.families = Object.freeze([...families]);
    this.#disk = disk;
    const images = disk?.acquire({ kill: () => (this.#closed ??= 'crashed') });
    for (const family of families) this.#states.set(family, new FamilyState(images?.get(family)));
  }

  async get(family: Family, key: Uint8Array): Promise<Uint8Array | undefined> {
    const value = this.#state(family).live.get(toText(key));
    return value === undefined ? undefined : copyOf(value);
  }

  async getMany(family: Family, keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const { live } = this.#state(family);
    return keys.map((key) => {
      const value = live.get(toText(key));
      return value === undefined ? undefined : copyOf(value);
    });
  }

  entries(family: Family, range: KvRange = {}): AsyncIterable<KvEntry> {
    const state = this.#state(family);
    return readRange(() => state.freeze().map, range, this.#assertOpen);
  }

  async write(operations: readonly KvOperation<Family>[]): Promise<void> {
    this.#assertOpen();
    if (this.#fenced !== undefined) throw fencedError();
    for (const operation of operations) this.#state(operation.family);
    if (this.#disk?.full) throw new IpeError('unavailable', 'no space is left on the disk of the store');
    for (const operation of operations) {
      const state = this.#state(operation.family);
      if (operation.type === 'put') state.put(toText(operation.key), new Uint8Array(operation.value));
      else state.delete(toText(operation.key));
    }
    this.#disk?.record(this.#freezeAll());
  }

  async sync(): Promise<void> {
    this.#assertOpen();
    if (this.#fenced !== undefined) throw fencedError();
    if (this.#disk === undefined) return;
    if (this.#disk.fullAtSync) {
      this.#fenced = 'without room';
      throw new IpeError('unavailable', 'no space is left on the disk of the store', { state: 'unknown' });
    }
    if (this.#disk.failNextSync) {
      this.#disk.failNextSync = false;
      this.#fenced = 'for good';
      throw new IpeError('unavailable', 'the disk failed to sync; restart the node', { state: 'unknown' });
    }
    this.#disk.sync();
  }

  async recover(): Promise<void> {
    this.#assertOpen();
    if (this.#fenced === 'for good') throw fencedError();
    if (this.#disk?.full || this.#disk?.fullAtSync)
      throw new IpeError('unavailable', 'no space is left on the disk of the store');
    if (this.#fenced === undefined) return;
    const images = this.#disk!.recover();
    for (const family of this.families) this.#states.set(family, new FamilyState(images.get(family)));
    this.#fenced = undefined;
  }

  snapshot(): KvSnapshot<Family> {
    this.#assertOpen();
    return new MemorySnapshot(this.#freezeAll(), this.#assertOpen);
  }

  async size(): Promise<{ totalBytes: number; families: Partial<Record<Family, number>> }> {
    this.#assertOpen();
    const families: Partial<Record<Family, number>> = {};
    let totalBytes = 0;
    for (const family of this.families) {
      const { sizeBytes } = this.#state(family);
      families[family] = sizeBytes;
      totalBytes += sizeBytes;
    }
    return { totalBytes, families };
  }

  async compact(family: Family): Promise<void> {
    this.#state(family);
  }

  async close(): Promise<void> {
    if (this.#closed !== undefined) return;
    if (this.#fenced === undefined) this.#disk?.sync();
    this.#closed = 'closed';
    this.#disk?.release();
  }

  readonly #assertOpen = (): void => {
    if (this.#closed !== undefined) throw new IpeError('unavailable', `the store is ${this.#closed}; open it again`);
  };

  #state(family: Family): FamilyState {
    this.#assertOpen();
    const state = this.#states.get(family);
    if (state === undefined) throw unknownFamily(family, this.families);
    return state;
  }

  #freezeAll(): ReadonlyMap<string, Image> {
    const images = new Map<string, Image>();
    for (const [family, state] of this.#states) images.set(family, state.freeze());
    return images;
  }
}

class MemorySnapshot<Family extends string> implements KvSnapshot<Family> {
  #images: ReadonlyMap<string, Image> | undefined;
  readonly #assertStoreOpen: () => void;

  constructor(images: ReadonlyMap<string, Image>, assertStoreOpen: () => void) {
    this.#images = images;
    this.#assertStoreOpen = assertStoreOpen;
  }

  async get(family: Family, key: Uint8Array): Promise<Uint8Array | undefined> {
    const value = mapGet(this.#map(family), toText(key));
    return value === undefined ? undefined : copyOf(value);
  }

  async getMany(family: Family, keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const map = this.#map(family);
    return keys.map((key) => {
      const value = mapGet(map, toText(key));
      return value === undefined ? undefined : copyOf(value);
    });
  }

  entries(family: Family, range: KvRange = {}): AsyncIterable<KvEntry> {
    const map = this.#map(family);
    return readRange(() => map, range, this.#assertOpen);
  }

  async close(): Promise<void> {
    this.#images = undefined;
  }

  readonly #assertOpen = (): void => {
    if (this.#images === undefined) throw new IpeError('unavailable', 'the snapshot is closed; take another one');
    this.#assertStoreOpen();
  };

  #map(family: Family): SortedMap<Uint8Array> {
    this.#assertOpen();
    const image = this.#images!.get(family);
    if (image === undefined) throw unknownFamily(family, [...this.#images!.keys()]);
    return image.map;
  }
}

async function* readRange(
  take: () => SortedMap<Uint8Array>,
  range: KvRange,
  assertOpen: () => void,
): AsyncGenerator<KvEntry, void, undefined> {
  assertOpen();
  let left = range.limit ?? Number.POSITIVE_INFINITY;
  if (left <= 0) return;
  for (const [key, value] of mapEntries(take(), lowerText(range), upperText(range), range.reverse === true)) {
    assertOpen();
    yield [toBytes(key), copyOf(value)];
    if (--left <= 0) return;
  }
  assertOpen();
}

/** The inclusive lower bound of a range; the successor of a key is that key with a zero byte. */
function lowerText(range: KvRange): string {
  const gte = range.gte === undefined ? '' : toText(range.gte);
  const gt = range.gt === undefined ? '' : `${toText(range.gt)}\0`;
  if (gt > gte) return gt;
  return gte;
}

/** The exclusive upper bound of a range, undefined when open. */
function upperText(range: KvRange): string | undefined {
  const lt = range.lt === undefined ? undefined : toText(range.lt);
  const lte = range.lte === undefined ? undefined : `${toText(range.lte)}\0`;
  if (lt === undefined || lte === undefined) return lt ?? lte;
  if (lt < lte) return lt;
  return lte;
}

/** Bytes as a string of code units 0..255, whose order is the order of the bytes. */
function toText(bytes: Uint8Array): string {
  if (bytes.length <= 1024) return String.fromCharCode.apply(null, bytes as unknown as number[]);
  let text = '';
  for (let at = 0; at < bytes.length; at += 1024) text += toText(bytes.subarray(at, at + 1024));
  return text;
}

/**
 * Copies are cut from slabs: an engine allocates the memory of an array beyond 64 bytes apart, which costs more than
 * everything else that a read does.
 */
const slabBytes = 8192;
let slab = new Uint8Array(slabBytes);
let slabUsed = 0;

function copyOf(value: Uint8Array): Uint8Array {
  if (value.length > slabBytes / 8 || value.length <= 64) return new Uint8Array(value);
  if (slabUsed + value.length > slabBytes) {
    slab = new Uint8Array(slabBytes);
    slabUsed = 0;
  }
  const copy = slab.subarray(slabUsed, slabUsed + value.length);
  copy.set(value);
  slabUsed += value.length;
  return copy;
}

function toBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function fencedError(): IpeError {
  return new IpeError('unavailable', 'the store refuses writes since a sync failed; restart the node');
}

function unknownFamily(family: string, families: readonly string[]): TypeError {
  return new TypeError(`no family \`${family}\` in this store; it has ${families.join(', ')}`);
}
