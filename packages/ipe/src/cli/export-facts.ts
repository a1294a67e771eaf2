import { open, rename, stat } from 'node:fs/promises';
import { type DataPlane, isIpeClientError } from '@ipe/client';
import type { Entry, QueryResult } from '@ipe/client/protocol';
import { PlaceFile } from './place-file.ts';

const pageLimit = 1000;
/** Facts that cannot be read and are named at the end. */
const damagedNamedMax = 100;

type Damaged = NonNullable<QueryResult['damaged']>;

/** How far an export has come, and of which snapshot of the node. */
export interface ExportPlace {
  /** What was asked for, and the patterns of it that are not whole yet, the first one being worked on. */
  readonly pattern: string;
  readonly left: readonly string[];
  readonly cursor?: string | undefined;
  readonly snapshot: string;
  /** When that was taken, Unix seconds. */
  readonly at: number;
  readonly facts: number;
  /** Bytes of the file that hold them. */
  readonly bytes: number;
  readonly damaged: Damaged;
}

/** Holds the present and names everything that is to be read of it. */
export async function beginExport(data: DataPlane, pattern: string): Promise<ExportPlace> {
  const { snapshot, at } = await data.call('hold-snapshot', {});
  // After the snapshot is held: a namespace that came since is empty in it.
  return { pattern, left: await patternsOf(data, pattern), snapshot, at, facts: 0, bytes: 0, damaged: [] };
}

/** A pattern has a namespace of its own, so everything is one pattern for each namespace. */
async function patternsOf(data: DataPlane, pattern: string): Promise<string[]> {
  if (pattern !== '*') return [pattern];
  const { namespaces } = await data.call('stats', {});
  return namespaces
    .map(({ namespace }) => namespace)
    .filter((name) => !name.startsWith('_'))
    .map((name) => `${name}.*`);
}

/** Reads what is left, page by page: the text of each, and the place behind it. The snapshot is let go at the end. */
export async function* exportPages(
  data: DataPlane,
  from: ExportPlace,
  signal?: AbortSignal,
): AsyncGenerator<{ readonly text: string; readonly place: ExportPlace }, void, void> {
  let place = from;
  while (place.left.length > 0) {
    const [pattern, ...others] = place.left;
    const { cursor, snapshot } = place;
    for await (const page of data.pages(pattern!, {
      limit: pageLimit,
      snapshot,
      ...(cursor !== undefined && { cursor }),
      ...(signal !== undefined && { signal }),
    })) {
      const text = page.entries.map(lineOf).join('');
      place = {
        ...place,
        left: page.cursor === undefined ? others : place.left,
        cursor: page.cursor,
        facts: place.facts + page.entries.length,
        bytes: place.bytes + Buffer.byteLength(text),
        damaged: [...place.damaged, ...(page.damaged ?? [])].slice(0, damagedNamedMax),
      };
      yield { text, place };
    }
  }
  // Best effort: one that is not released goes by itself.
  await data.call('release-snapshot', { snapshot: place.snapshot }).catch(() => {});
}

function lineOf({ key, value, value_base64, siblings, expires_at }: Entry): string {
  return `${JSON.stringify({ key, value, value_base64, siblings, expires_at })}\n`;
}

/** A file of facts that comes into being beside its name, and where an earlier run has left off. */
export class ExportFile {
  readonly #path: string;
  readonly #partial: string;
  readonly #place: PlaceFile<ExportPlace>;

  constructor(path: string) {
    this.#path = path;
    this.#partial = `${path}.partial`;
    this.#place = new PlaceFile(`${path}.partial.json`, 1);
  }

  /** Where an export of this pattern stopped. */
  async stoppedAt(pattern: string): Promise<ExportPlace | undefined> {
    const place = await this.#place.read();
    return place?.pattern === pattern ? place : undefined;
  }

  /**
   * Goes on from a place to the end; every page counts once it is in the file and the place says so.
   * @throws IpeClientError `aborted` when the signal fires
   */
  async fill(data: DataPlane, from: ExportPlace, signal: AbortSignal, on: (place: ExportPlace) => void): Promise<void> {
    let place = from;
    const file = await open(this.#partial, from.bytes === 0 ? 'w' : 'r+', 0o600);
    try {
      await file.truncate(from.bytes);
      await this.#place.write(place);
      for await (const { text, place: behind } of exportPages(data, from, signal)) {
        await file.write(text, place.bytes);
        place = behind;
        await this.#place.write(place);
        on(place);
      }
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(this.#partial, this.#path);
    await this.#place.remove();
  }

  /** Whether the file still holds what a place says and the node still holds its snapshot. */
  async canGoOn(data: DataPlane, { left, snapshot, bytes }: ExportPlace): Promise<boolean> {
    if ((await sizeOf(this.#partial)) < bytes) return false;
    if (left.length === 0) return true;
    try {
      await data.call('query', { pattern: left[0]!, limit: 1, snapshot });
      return true;
    } catch (error) {
      if (isIpeClientError(error) && error.reason === 'not_found') return false;
      throw error;
    }
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}
