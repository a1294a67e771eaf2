import { type Engine, readPattern, scan } from '../data/index.ts';
import type { TokenStore } from '../security/store.ts';
import type { TokenRecord } from '../security/tokens.ts';

const prefix = '_sys.tokens.';

/**
 * Tokens as facts of the reserved namespace: durable and replicated like any fact, a revocation wins over whatever is
 * written beside it, and every instance takes changes up as they arrive.
 */
export function factTokenStore(engine: Engine): TokenStore {
  return {
    list: async () => {
      const records: TokenRecord[] = [];
      // A record that cannot be read lets nobody in; the others are not to be locked out with it.
      for await (const { cell } of scan(engine, readPattern(`${prefix}*`), { onDamaged: () => {} }))
        if (cell.seenAt(engine.readMs()) !== undefined) records.push(cell.value as TokenRecord);
      return records;
    },
    put: (record) => engine.put(prefix + record.id, record),
    remove: (id) => engine.delete(prefix + id),
    watch: (listener) =>
      engine.onApplied(({ cells }) => {
        for (const key of cells.keys()) if (key.startsWith(prefix)) return listener();
      }),
  };
}
