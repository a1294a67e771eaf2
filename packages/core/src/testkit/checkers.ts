/** What became of a write, as whoever made it knows. `unknown`: it may stand or not, such as after a broken connection. */
export type WriteOutcome = 'acknowledged' | 'unknown' | 'refused';

/** One write as it was made, whatever made it: a client of real processes, or the simulator. */
export interface RecordedWrite {
  readonly key: string;
  /** The text that readers see; no two writes of a key have the same. Null: a deletion. */
  readonly value: string | null;
  readonly outcome: WriteOutcome;
  /** Where it stands among the writes of its key, known once it is acknowledged; equal numbers say nothing. */
  readonly order?: number;
  /** Writes of one transaction have the same name here. */
  readonly transaction?: string;
}

/** One key as an instance shows it. */
export interface Shown {
  readonly value: string;
  readonly order: number;
}

/** What every instance shows in the end, by instance and key; a key that is absent is not in the map. */
export type Views = ReadonlyMap<string, ReadonlyMap<string, Shown>>;

/** Amounts added to one counter. */
export interface RecordedAdd {
  readonly key: string;
  readonly amount: number;
  readonly outcome: WriteOutcome;
}

/**
 * Checks what instances show in the end against all that was written: all show the same, nothing acknowledged is lost
 * (it is visible, or a later write is), nothing deleted is back, nothing is shown that nobody wrote, and of each
 * transaction every write is visible or superseded.
 * @returns what must not be and is, in words; empty when all holds
 */
export function checkHistory(writes: readonly RecordedWrite[], views: Views): string[] {
  const problems = checkConvergence(views);
  const byKey = groupBy(writes, ({ key }) => key);
  for (const [instance, view] of views) {
    for (const [key, shown] of view) {
      if (!byKey.has(key)) problems.push(`${instance} shows ${key} = ${shown.value}, which nobody wrote`);
    }
    for (const [key, history] of byKey) {
      const problem = checkKey(key, history, view.get(key));
      if (problem !== undefined) problems.push(`${instance}: ${problem}`);
    }
    problems.push(...checkTransactions(byKey, view).map((problem) => `${instance}: ${problem}`));
  }
  return problems;
}

/** Checks that all instances show the same. */
export function checkConvergence(views: Views): string[] {
  const problems: string[] = [];
  const [first, ...others] = views;
  if (first === undefined) return problems;
  const [firstName, firstView] = first;
  for (const [name, view] of others) {
    for (const key of new Set([...firstView.keys(), ...view.keys()])) {
      const [a, b] = [firstView.get(key)?.value, view.get(key)?.value];
      if (a !== b) problems.push(`${key} is ${a ?? 'absent'} at ${firstName} and ${b ?? 'absent'} at ${name}`);
    }
  }
  return problems;
}

/** Checks that each counter shows all that was acknowledged, and no more than was tried. */
export function checkCounters(adds: readonly RecordedAdd[], views: Views): string[] {
  const problems = checkConvergence(views);
  for (const [key, history] of groupBy(adds, (add) => add.key)) {
    const sum = (outcomes: readonly WriteOutcome[]) =>
      history.reduce((total, { amount, outcome }) => total + (outcomes.includes(outcome) ? amount : 0), 0);
    const [least, most] = [sum(['acknowledged']), sum(['acknowledged', 'unknown'])];
    for (const [instance, view] of views) {
      const total = Number(view.get(key)?.value ?? 0);
      if (total < least) problems.push(`${instance}: ${key} is ${total}, of ${least} that were acknowledged`);
      if (total > most) problems.push(`${instance}: ${key} is ${total}, and no more than ${most} was added`);
    }
  }
  return problems;
}

function checkKey(key: string, history: readonly RecordedWrite[], shown: Shown | undefined): string | undefined {
  const stands = history.filter(({ outcome }) => outcome !== 'refused');
  const latest = history
    .filter(({ outcome }) => outcome === 'acknowledged')
    .reduce<RecordedWrite | undefined>(
      (last, write) => (last && last.order! >= write.order! ? last : write),
      undefined,
    );
  if (shown !== undefined) {
    if (!stands.some(({ value }) => value === shown.value)) return `${key} = ${shown.value}, which nobody wrote`;
    if (latest === undefined || latest.value === shown.value || latest.order! <= shown.order) return undefined;
    return latest.value === null
      ? `${key} was deleted and is back as ${shown.value}`
      : `the acknowledged write ${key} = ${latest.value} is lost; it shows the older ${shown.value}`;
  }
  if (latest === undefined || latest.value === null) return undefined;
  const mayBeDeleted = stands.some(
    ({ value, outcome, order }) => value === null && (outcome === 'unknown' || order! >= latest.order!),
  );
  return mayBeDeleted ? undefined : `the acknowledged write ${key} = ${latest.value} is lost; nothing is there`;
}

/** A transaction that shows anywhere stands whole: none of its other writes may be missing, or beaten by an older one. */
function checkTransactions(
  byKey: ReadonlyMap<string, readonly RecordedWrite[]>,
  view: ReadonlyMap<string, Shown>,
): string[] {
  const problems: string[] = [];
  const members = [...byKey.values()].flat().filter(({ transaction }) => transaction !== undefined);
  for (const [name, group] of groupBy(members, ({ transaction }) => transaction!)) {
    const visible = group.find(({ key, value }) => value !== null && view.get(key)?.value === value);
    if (visible === undefined) continue;
    const { order } = view.get(visible.key)!;
    for (const { key, value } of group) {
      const shown = view.get(key);
      if (value === null || shown?.value === value || (shown?.order ?? 0) >= order) continue;
      const mayBeDeleted = byKey.get(key)!.some((write) => write.value === null && write.outcome !== 'refused');
      if (shown === undefined && mayBeDeleted) continue;
      problems.push(`of transaction ${name} ${visible.key} shows, and ${key} shows ${shown?.value ?? 'nothing'}`);
    }
  }
  return problems;
}

function groupBy<Item>(items: readonly Item[], nameOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const name = nameOf(item);
    const group = groups.get(name);
    if (group) group.push(item);
    else groups.set(name, [item]);
  }
  return groups;
}
