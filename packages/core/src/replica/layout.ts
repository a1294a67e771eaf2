/**
 * Families of the fact store and the keys of their rows. Integers in keys are big-endian, so that byte order is order.
 *
 * | family | key | value |
 * |---|---|---|
 * | `live` | key | cell: revision and state |
 * | `versions` | key, 0, place (u16) | when it was replaced, and the cell |
 * | `log` | namespace, 0, origin (8), epoch (6), seq (6) | record |
 * | `commits` | number (6) | namespace, source, seq, effects |
 * | `expiry` | due milliseconds (6), key | empty |
 * | `metadata` | see `metadata.ts` | |
 */
export const dataFamilies = ['live', 'versions', 'log', 'commits', 'expiry', 'metadata'] as const;
export type DataFamily = (typeof dataFamilies)[number];
