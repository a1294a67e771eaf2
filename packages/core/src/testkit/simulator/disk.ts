import type { DataFamily } from '../../replica/index.ts';
import type { KvOperation } from '../../store/index.ts';

type Row = readonly [key: Uint8Array, value: Uint8Array];

/** The disk of one instance: what is synced survives a crash, what is only written is lost from some batch on. */
export class Disk {
  isFull = false;
  readonly #families = new Map<DataFamily, Map<string, Row>>();
  /** Written and not synced, oldest first, with what each batch replaced. */
  #unsynced: { readonly family: DataFamily; readonly name: string; readonly before: Row | undefined }[][] = [];

  /** Applies a batch. @returns false when the disk is full: nothing was applied */
  write(operations: readonly KvOperation<DataFamily>[]): boolean {
    if (this.isFull) return false;
    const undo = [];
    for (const operation of operations) {
      const rows = this.#rows(operation.family);
      const name = nameOf(operation.key);
      undo.push({ family: operation.family, name, before: rows.get(name) });
      if (operation.type === 'put') rows.set(name, [operation.key, operation.value]);
      else rows.delete(name);
    }
    this.#unsynced.push(undo);
    return true;
  }

  sync(): void {
    this.#unsynced = [];
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

  /** Rows whose keys begin with `prefix`, in order. */
  rows(family: DataFamily, prefix: Uint8Array = new Uint8Array()): Row[] {
    const start = nameOf(prefix);
    return [...this.#rows(family)]
      .filter(([name]) => name.startsWith(start))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, row]) => row);
  }

  #rows(family: DataFamily): Map<string, Row> {
    let rows = this.#families.get(family);
    if (rows === undefined) this.#families.set(family, (rows = new Map()));
    return rows;
  }
}

/** Bytes as a string whose order is theirs. */
function nameOf(key: Uint8Array): string {
  let name = '';
  for (const byte of key) name += String.fromCharCode(byte);
  return name;
}
