import { IpeError } from '@ipe/core';
import { commitKey, type DataFamily, type Recovered, readMetadata, type Sources } from '@ipe/core/replica';
import type { Kv, KvEntry } from '@ipe/core/store';
import { assertReaches, type Mark } from '../stores/mark.ts';

/** Commits that are checked one by one at start: more than the write-ahead log can hold back from the tables. */
const checkedCommits = 50_000;

/**
 * Reads what the store remembers and holds it to what it must hold: the last commit reaches the mark kept outside, and
 * the newest commits follow one another without a hole. A write-ahead log that was shortened, or a file of it that is
 * gone, shows in one or the other.
 * @throws IpeError `corrupt`, naming what is missing
 */
export async function recoverStore(kv: Kv<DataFamily>, sources: Sources, mark: Mark | undefined): Promise<Recovered> {
  const rows: KvEntry[] = [];
  for await (const row of kv.entries('metadata')) rows.push(row);
  const recovered = readMetadata(rows, sources);
  const { lastCommit, trimmedCommit } = recovered;
  if (mark !== undefined) assertReaches(mark, lastCommit, 'fact store');
  const first = Math.max(trimmedCommit, lastCommit - checkedCommits) + 1;
  let expected = first;
  for await (const [key] of kv.entries('commits', { gte: commitKey(first) })) {
    const number = Buffer.from(key.buffer, key.byteOffset, key.byteLength).readUIntBE(0, 6);
    if (number !== expected) throw hole(expected, number - 1);
    expected++;
  }
  if (expected !== lastCommit + 1)
    throw expected <= lastCommit ? hole(expected, lastCommit) : hole(lastCommit + 1, expected - 1);
  return recovered;
}

function hole(first: number, last: number): IpeError {
  const commits = first === last ? `commit ${first}` : `commits ${first} to ${last}`;
  return new IpeError(
    'corrupt',
    `the fact store lacks ${commits}, which were acknowledged: part of its write-ahead log is gone; restore a backup, or let the instance join again with an empty \`data\` directory`,
    { details: { store: 'fact store', first, last } },
  );
}
