/**
 * Bugs that other systems shipped, kept as switches of the simulated instance: a simulator that does not notice them
 * would not notice them in the real code either.
 */
export const mutants = {
  'acknowledged-before-durable': 'superfly/corrosion#577: what is acknowledged and told is not on disk yet',
  'vector-before-apply': 'a record counts as held once it has arrived, not once it is applied',
  'gap-passed-over': 'HarperFast/harper#2629: a cursor passes over records that never came',
  'vector-lost-at-restart': 'HarperFast/harper#1949: a restart keeps the records and forgets how far they reach',
  'replace-instead-of-join': 'HarperFast/harper#2193: a bootstrap replaces what the receiver alone has',
  'tombstones-by-wall-clock': 'a tombstone goes after its grace, whoever still has not seen it',
  'loading-reads-empty': 'a namespace that is still being loaded reads as if it were empty',
  'no-anti-entropy': 'permitio/opal#94: what the broker loses stays lost',
  'future-clamped': 'GenosDB: a time that lies ahead of the local clock is set back to it',
  'last-arrival-wins': 'RFC-005: `remote.updated_at > local.updated_at`, and arrival decides the rest',
} as const;

export type Mutant = keyof typeof mutants;
