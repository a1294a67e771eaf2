import { IpeError } from '@ipe/core';
import type RocksDB from 'rocksdb-native';

/** The native library, loaded when the first store is opened so that clients of a node never pay for it. */
export async function loadRocksDb(load: () => Promise<unknown> = importNative): Promise<typeof RocksDB> {
  try {
    return ((await load()) as { default: typeof RocksDB }).default;
  } catch (error) {
    throw explainLoadFailure(error);
  }
}

const importNative = () => import('rocksdb-native');

/** Says what to install when the library does not load. */
export function explainLoadFailure(error: unknown): IpeError {
  const text = causes(error).join(': ');
  const message = text.includes('libatomic')
    ? 'the RocksDB library needs libatomic1, which is not installed; run `apt-get install libatomic1` (Debian, Ubuntu) or `dnf install libatomic` (Fedora, RHEL)'
    : `the RocksDB library does not load on ${process.platform}-${process.arch}; reinstall the dependencies of \`ipe\` for this platform, or set the storage backend to \`memory\``;
  return new IpeError('unavailable', message, { details: { cause: text }, cause: error });
}

/** The messages of an error and of what caused it, outermost first. */
export function causes(error: unknown): string[] {
  const messages: string[] = [];
  for (let at = error; at instanceof Error && messages.length < 8; at = at.cause) messages.push(at.message);
  return messages.length === 0 ? [String(error)] : messages;
}
