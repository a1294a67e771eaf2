import {
  decodeHeld,
  type HeldRun,
  type Holdings,
  headOf,
  heldRowKey,
  type LogSlice,
  liveKey,
  logKey,
  PageGatherer,
  type Replica,
  SliceGatherer,
  type SnapshotPage,
  type Source,
  Sources,
  type StateEntry,
  type Stretch,
} from '../../replica/index.ts';
import type { Disk } from './disk.ts';
import { isRecord, type LogQuestion, type RecordName } from './state-repair.ts';

/** A page as it is sent: sources by their ids, since each instance has objects of its own for them. */
export type SentPage = Omit<SnapshotPage, 'heads'> & {
  readonly heads: readonly (readonly [source: string, seq: number])[];
};

/** Records that are held back, as they are stored. */
export function heldRows(disk: Disk, runs: readonly HeldRun[]): Uint8Array[] {
  const sources = new Sources();
  return runs.flatMap(({ namespace, source, from, to }) =>
    Array.from({ length: to - from + 1 }, (_, i) => disk.get('metadata', heldRowKey(namespace, source, from + i)))
      .filter((row) => row !== undefined)
      .map((row) => decodeHeld(row, sources)),
  );
}

export interface TransferOptions {
  readonly disk: Disk;
  readonly replica: Replica;
  readonly holdings: Holdings;
  readonly sliceBytes: number;
  /** A record of the log as a peer is given it. */
  readonly relayed: (row: Uint8Array) => Uint8Array;
  readonly onDamaged: (name: RecordName) => void;
}

/** What an instance gives to others of its log and its facts. */
export class Transfer {
  readonly #options: TransferOptions;

  constructor(options: TransferOptions) {
    this.#options = options;
  }

  /** Undefined where the first record asked for is damaged. */
  slice({ namespace, source: id, after, upTo }: Omit<LogQuestion, 'type'>): LogSlice | undefined {
    const { disk, replica, holdings, sliceBytes, relayed, onDamaged } = this.#options;
    const source = replica.sources.parse(id)!;
    const bound = Math.min(upTo, headOf(holdings.headsOf(namespace), source));
    const gatherer = new SliceGatherer({ after, upTo: Math.max(bound, after) }, sliceBytes);
    for (let seq = after + 1; seq <= bound; seq++) {
      const row = disk.get('log', logKey(namespace, source, seq));
      if (row !== undefined && !isRecord(row, replica)) {
        onDamaged({ namespace, source: id, seq });
        if (seq === after + 1) return undefined;
        break;
      }
      if (row === undefined || !gatherer.take(seq, relayed(row))) break;
    }
    return gatherer.slice();
  }

  page(namespace: string, after: string | undefined): SentPage {
    const { disk, replica, holdings, sliceBytes } = this.#options;
    const held = after === undefined ? heldRows(disk, replica.heldBack(namespace)) : [];
    const gatherer = new PageGatherer(holdings.headsOf(namespace), () => replica.floorOf(namespace), sliceBytes, held);
    for (const [bytes, row] of disk.rows('live', liveKey(`${namespace}.`))) {
      const key = String.fromCharCode(...bytes);
      if (after !== undefined && key <= after) continue;
      if (!gatherer.take(key, row)) break;
    }
    // What a page shows no crash may take back: nobody could tell its records from those that were never written.
    disk.sync();
    const page = gatherer.page();
    return { ...page, heads: page.heads.map(({ source, seq }) => [source.id, seq]) };
  }

  received(page: SentPage): SnapshotPage {
    const { sources } = this.#options.replica;
    return { ...page, heads: page.heads.map(([id, seq]) => ({ source: sources.parse(id) as Source, seq })) };
  }

  /** Keys here of which a giver that tells of all in a stretch holds nothing. */
  absentIn(namespace: string, { after = '', upTo }: Stretch, told: readonly StateEntry[]): StateEntry[] {
    return this.#options.disk
      .rows('live', liveKey(`${namespace}.`))
      .map(([bytes]) => String.fromCharCode(...bytes))
      .filter((key) => key > after && (upTo === undefined || key <= upTo) && told.every((entry) => entry.key !== key))
      .map((key) => ({ key, state: undefined }));
  }
}
