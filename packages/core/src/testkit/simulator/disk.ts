import type { DataFamily } from '../../replica/index.ts';
import type { KvOperation } from '../../store/index.ts';

type Row = readonly [key: Uint8Array, value: Uint8Array];

/** What an instance keeps besides its facts: as files of their own, written after what they speak of is durable. */
export interface Notes {
  /** Whether it held all of its interest whole. */
  isSettled: boolean;
  /** Namespaces that it held whole. */
  whole: readonly string[];
  /** Namespaces that it held whole until it learned that its store is an old copy. */
  goneBack: readonly string[];
  /** Where the message plane resumes. */
  cursor: number | undefined;
  /** How many commits the store must hold at least. */
  mark: number;
  /** For the simulation alone: namespaces whose states on this disk may run ahead of the vector. */
  ahead: ReadonlySet<string>;
}

/** The disk of one instance: what is synced survives a crash, what is only written is lost from some batch on. */
export class Disk {
  /** Whoever writes is to take it for failed. */
  isFull = false;
  /** Syncs return and keep nothing. */
  isLying = false;
  notes: Notes = { isSettled: false, whole: [], goneBack: [], cursor: undefined, mark: 0, ahead: new Set() };
  #families = new Map<DataFamily, Map<string, Row>>();
  /** Written and not synced, oldest first, with what each batch replaced. */
  #unsynced: { readonly family: DataFamily; readonly name: string; readonly before: Row | undefined }[][] = [];

  /** Applies a batch, whole. */
  write(operations: readonly KvOperation<DataFamily>[]): void {
    const undo = [];
    for (const operation of operations) {
      const rows = this.#rows(operation.family);
      const name = nameOf(operation.key);
      undo.push({ family: operation.family, name, before: rows.get(name) });
      if (operation.type === 'put') rows.set(name, [operation.key, operation.value]);
      else rows.delete(name);
    }
    this.#unsynced.push(undo);
  }

  sync(): void {
    if (!this.isLying) this.#unsynced = [];
  }

  /** Power goes: batches from `kept` on, of those that were not synced, are as if they had never been written. */
  crash(kept: number): void {
    for (const undo of this.#unsynced.splice(kept).reverse()) {
      for (const { family, name, before } of undo.reverse()) {
        if (before === undefined) this.#rows(family).delete(name);
        else this.#rows(family).set(name, before);
      }
    }
    this.#unsynced = [];
  }

  get unsyncedCount(): number {
    return this.#unsynced.length;
  }

  get(family: DataFamily, key: Uint8Array): Uint8Array | undefined {
    return this.#rows(family).get(nameOf(key))?.[1];
  }

  /** A row that was written well is not what it was any more, whatever was synced: other bytes, or gone. */
  rot(family: DataFamily, key: Uint8Array, value: Uint8Array | undefined): void {
    const name = nameOf(key);
    if (value === undefined) this.#rows(family).delete(name);
    else this.#rows(family).set(name, [key, value]);
  }

  /** Rows whose keys begin with `prefix`, in order. */
  rows(family: DataFamily, prefix: Uint8Array = new Uint8Array()): Row[] {
    const start = nameOf(prefix);
    return [...this.#rows(family)]
      .filter(([name]) => name.startsWith(start))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, row]) => row);
  }

  /** Empties the data directory, what is beside the store included. */
  wipe(): void {
    this.restore(new Disk());
  }

  /** A copy of the data directory as it is now, what is not synced included. */
  copy(): Disk {
    const disk = new Disk();
    disk.notes = { ...this.notes };
    for (const [family, rows] of this.#families) disk.#families.set(family, new Map(rows));
    return disk;
  }

  /** A copy of what a power cut would leave for certain. */
  synced(): Disk {
    const disk = this.copy();
    disk.#unsynced = this.#unsynced.map((batch) => [...batch]);
    disk.crash(0);
    return disk;
  }

  /** Puts a copy in the place of everything. */
  restore(from: Disk): void {
    const { notes } = from.copy();
    this.notes = notes;
    this.#families = from.copy().#families;
    this.#unsynced = [];
  }

  #rows(family: DataFamily): Map<string, Row> {
    let rows = this.#families.get(family);
    if (rows === undefined) this.#families.set(family, (rows = new Map()));
    return rows;
  }
}

/** Bytes as a string whose order is theirs. */
function nameOf(key: Uint8Array): string {
  return String.fromCharCode.apply(null, key as unknown as number[]);
}
