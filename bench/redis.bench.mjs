import { factOf, keyOf } from './harness/facts.mjs';
import { concurrently } from './harness/recorder.mjs';
import { cpuSeconds, dataSession, directoryBytes, hasRedis, startIpe, startRedis } from './harness/servers.mjs';

/** Both servers behind the same four calls. `connect` opens a second connection, for a reader beside writers. */
async function openBoth(b, durability, appendfsync) {
  const ipe = await startIpe(b, `[predicate_service.data_plane]\ndurability = "${durability}"\n`);
  const redis = await startRedis(b, appendfsync);
  const ipeCalls = ({ data }) => ({ put: (i) => data.put(keyOf(i), factOf(i)), get: (i) => data.get(keyOf(i)) });
  const redisCalls = (client) => ({
    put: (i) => client.set(keyOf(i), JSON.stringify(factOf(i))),
    get: (i) => client.get(keyOf(i)),
  });
  const both = {
    IPE: { ...ipe, ...ipeCalls(await dataSession(b, ipe)), connect: async () => ipeCalls(await dataSession(b, ipe)) },
    Redis: { ...redis, ...redisCalls(redis.client), connect: async () => redisCalls(await redis.connect()) },
  };
  for (const { put } of Object.values(both)) await put(7);
  b.check((await both.IPE.get(7)).value.user_id === 'user-7', 'IPE answers something else');
  b.check(JSON.parse(await both.Redis.get(7)).user_id === 'user-7', 'Redis answers something else');
  return both;
}

/** Rate, percentiles and the server's processor time of one call at one number in flight. */
async function compareCall(b, name, both, call, inFlight, { count, keys, aims }) {
  const run = (server, n = count) => concurrently(n, inFlight, (i) => server[call](i % keys));
  const label = `${name}, ${inFlight} in flight`;
  const contestants = Object.entries(both).map(([who, server]) => [who, () => run(server)]);
  await b.compare(label, { count, rounds: 3, aims }, Object.fromEntries(contestants));
  for (const [who, server] of Object.entries(both)) {
    const before = cpuSeconds(server.pid);
    b.percentiles(`${label}: ${who}`, await run(server), {
      ...(who === 'IPE' && call === 'get' && inFlight === 1 && { aim: 'p99 <0.3 ms' }),
    });
    const microseconds = ((cpuSeconds(server.pid) - before) * 1e6) / count;
    b.value(`processor time of the server a ${call}, ${inFlight} in flight: ${who}`, microseconds, 'µs');
  }
}

/** One reader on a connection of its own while 64 writers put. */
async function readWhileWriting(b, name, server, samples) {
  const reader = await server.connect();
  let writing = true;
  const writers = Array.from({ length: 64 }, async (_, i) => {
    while (writing) await server.put(i);
  });
  const times = await concurrently(samples, 1, (i) => reader.get(i % 64));
  writing = false;
  await Promise.all(writers);
  b.percentiles(`get, 1 in flight, while 64 put: ${name}`, times);
}

/** Bytes that puts of new keys add to a server's directory, log included. */
async function diskAPut(b, name, server, count) {
  const before = directoryBytes(server.directory);
  await concurrently(count, 64, (i) => server.put(1_000_000 + i));
  b.value(
    `disk a put of a new key, log included: ${name}`,
    (directoryBytes(server.directory) - before) / count,
    'bytes',
  );
}

export const benches = [
  ['wal', 'everysec', { 64: '0.6x', 512: '1.0x' }],
  ['fsync', 'always', { 64: '0.5x', 512: '1.0x' }],
].map(([durability, appendfsync, aims]) => ({
  id: `data/redis-${appendfsync}`,
  question: `How do single puts and gets over a socket compare with Redis (appendonly yes, ${appendfsync})?`,
  sizes: `JSON values of 100 bytes under 20-byte keys, 20,000 of them, gets of 2,000; IPE: /stream session, \`durability = "${durability}"\`; Redis: node-redis; one connection each over a unix socket; alternating rounds`,
  async run(b) {
    if (!hasRedis) throw new Error('redis-server is not installed');
    const both = await openBoth(b, durability, appendfsync);
    for (const inFlight of [1, 64, 512])
      await compareCall(b, 'put', both, 'put', inFlight, {
        count: b.size(inFlight === 1 ? 1000 : 20_000),
        keys: 20_000,
        aims: aims[inFlight] && { Redis: aims[inFlight] },
      });
    // What is read is there, also under --quick.
    for (const { put } of Object.values(both)) await concurrently(2000, 64, put);
    for (const inFlight of [1, 64, 512])
      await compareCall(b, 'get', both, 'get', inFlight, {
        count: b.size(inFlight === 1 ? 3000 : 20_000),
        keys: 2000,
      });
    for (const [name, server] of Object.entries(both)) await readWhileWriting(b, name, server, b.size(2000));
    for (const [name, server] of Object.entries(both)) await diskAPut(b, name, server, b.size(20_000));
  },
}));
