import type { Cell, View } from '@ipe/core/replica';

/** An entry as clients get it (API.md). Times are Unix seconds. */
export interface Entry {
  readonly key: string;
  readonly value?: unknown;
  readonly value_base64?: string;
  readonly version: number;
  readonly etag: string;
  readonly created_at: number;
  readonly updated_at: number;
  readonly expires_at?: number;
  /** Values written side by side that the namespace leaves to the application, latest first. `value` is then absent. */
  readonly siblings?: readonly Sibling[];
}

export interface Sibling {
  readonly value?: unknown;
  readonly value_base64?: string;
  readonly deleted?: true;
  readonly version: number;
  readonly updated_at: number;
}

/** What a reader gets of a cell at a time; null for absent, deleted and expired. */
export function entryOf(key: string, cell: Cell, nowMs: number): Entry | null {
  const view = cell.seenAt(nowMs);
  return view === undefined ? null : describe(key, cell, view);
}

/** A cell's view in the form of an entry, whether or not readers would see it. */
export function describe(key: string, cell: Cell, view: View): Entry {
  const { version, createdMs, updatedMs, expiresMs } = view;
  const etag = cell.etag;
  // Written out for the plain case, which is what is read all the time.
  if (view.kind === 'value' && view.json !== undefined && expiresMs === 0)
    return { key, value: cell.value, version, etag, created_at: createdMs / 1000, updated_at: updatedMs / 1000 };
  return {
    key,
    ...contentOf(cell, view),
    version,
    etag,
    created_at: createdMs / 1000,
    updated_at: updatedMs / 1000,
    ...(expiresMs !== 0 && { expires_at: expiresMs / 1000 }),
  };
}

/** What stands in the place of a write that lost a merge. */
export type Winner = Omit<Entry, 'key' | 'created_at'> & { readonly deleted?: true };

export function winnerOf(key: string, cell: Cell): Winner {
  const view = cell.view!;
  const { key: _, created_at: __, ...rest } = describe(key, cell, view);
  return { ...rest, ...(view.kind === 'absent' && { deleted: true as const }) };
}

/** The value of a view as it stands in JSON: `value`, `value_base64`, or `siblings`. */
export function contentOf(cell: Cell, view: View): Pick<Entry, 'value' | 'value_base64' | 'siblings'> {
  if (view.kind === 'siblings')
    return {
      siblings: view.siblings.map(({ json, bytes, version, ms }) => ({
        ...(json !== undefined
          ? { value: JSON.parse(json) as unknown }
          : bytes !== undefined
            ? base64(bytes)
            : deleted),
        version,
        updated_at: ms / 1000,
      })),
    };
  if (view.json !== undefined) return { value: cell.value };
  return view.bytes === undefined ? {} : base64(view.bytes);
}

const deleted = { deleted: true } as const;

/** Bytes as they stand in JSON. */
export function base64(bytes: Uint8Array): { readonly value_base64: string } {
  return { value_base64: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64') };
}
