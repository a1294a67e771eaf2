/**
 * What a cursor of a broker's plane holds: a position for each part that is read. A cursor of another plane, or none,
 * holds nothing: then a subscription begins with what the broker has.
 */
export function readCursor<Position>(cursor: string | undefined): Map<string, Position> {
  if (cursor === undefined) return new Map();
  try {
    return new Map(Object.entries(JSON.parse(cursor) as Record<string, Position>));
  } catch {
    return new Map();
  }
}
