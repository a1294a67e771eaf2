import { expect, test } from 'vitest';
import { explainLoadFailure, loadRocksDb } from './load.ts';

const failure = (cause: string) =>
  new Error('Cannot load addon `rocksdb-native.node`', {
    cause: new Error(`${cause}: cannot open shared object file`),
  });

test('a missing libatomic1 is answered with the command that installs it', async () => {
  const load = async () => {
    throw failure('libatomic.so.1');
  };
  await expect(loadRocksDb(load)).rejects.toMatchObject({
    reason: 'unavailable',
    message: expect.stringContaining('apt-get install libatomic1'),
  });
});

test('any other failure to load names the platform and the way out', () => {
  const error = explainLoadFailure(failure('libc.musl.so'));
  expect(error.message).toContain(`${process.platform}-${process.arch}`);
  expect(error.details['cause']).toContain('libc.musl.so');
});
