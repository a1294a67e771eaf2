/**
 * Bugs that other systems shipped, kept as switches of the simulated instance: a simulator that does not notice them
 * would not notice them in the real code either. Each is a change of what is handed to the replica and its helpers, or
 * of what is done with what they ask for; their own code knows nothing of it.
 */
export const mutants = {
  'acknowledged-before-durable': 'superfly/corrosion#577: what is acknowledged and told is not on disk yet',
  'vector-before-apply': 'a record counts as held once it has arrived, not once it is applied',
  'gap-passed-over': 'HarperFast/harper#2629: a cursor passes over records that never came',
  'vector-lost-at-restart': 'HarperFast/harper#1949: a restart keeps the records and forgets how far they reach',
  'replace-instead-of-join': 'HarperFast/harper#2193: a bootstrap replaces what the receiver alone has',
  'loser-relayed-empty': 'vlcn-io/cr-sqlite#413: a write that lost here is relayed without its content',
  'tombstones-by-wall-clock': 'a tombstone goes after its grace, whoever still has not seen it',
  'expired-dropped-locally': 'riak_kv: what has expired is dropped from the disk, and older values come back',
  'loading-reads-empty': 'a namespace that is still being loaded reads as if it were empty',
  'no-anti-entropy': 'permitio/opal#94: what the broker loses stays lost',
  'future-clamped': 'GenosDB: a time that lies ahead of the local clock is set back to it',
  'last-arrival-wins': 'RFC-005: the remote value is taken if its `updated_at` is greater, else the local one is kept',
  'dot-reused': 'Evolu: a restored copy goes on under the identity and the numbers that it had',
  'start-not-told': 'IPE itself: epochs date from 1970, are folded at once, and cover those of an emptied store',
  'transaction-chunked': 'superfly/corrosion#191: a transaction is sent and applied in parts',
  'damage-mended-by-older':
    'HarperFast/harper#2193: a repair takes what the other has in the place of what is newer here',
  'evicted-returns-as-it-was':
    'superfly/corrosion#533: a member that was away for longer than deletions wait for it brings its old store',
  'resumed-from-now':
    'shubhamranjan/dotnet-etcd#310: a subscriber that comes back is told what happens from then on, not what it missed',
} as const;

export type Mutant = keyof typeof mutants;
