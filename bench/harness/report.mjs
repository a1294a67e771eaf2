// Rows as a table for people.

/** Prints one bench's rows. */
export function printRows(bench, rows, log = console.log) {
  log(`\n${bench.id}: ${bench.question}`);
  log(`  ${bench.sizes}`);
  const lines = rows.map((row) => [row.name, ...figures(row), row.aim === undefined ? '' : `aim ${row.aim}`]);
  const widths = [0, 1, 2].map((column) => Math.max(...lines.map((line) => line[column].length)));
  for (const line of lines)
    log(
      `  ${line[0].padEnd(widths[0])}  ${line[1].padStart(widths[1])}  ${line[2].padEnd(widths[2])}  ${line[3]}`.trimEnd(),
    );
}

function figures(row) {
  if (row.kind === 'rate')
    return [
      `${count(row.median)}/s`,
      `${time(1000 / row.median)} each, ${count(row.min)}..${count(row.max)} in ${row.rounds} rounds of ${count(row.count)}`,
    ];
  if (row.kind === 'latency')
    return [`p50 ${time(row.p50)}`, `p99 ${time(row.p99)}, p99.9 ${time(row.p999)}, ${count(row.samples)} samples`];
  if (row.kind === 'ratio') return [`${row.median.toPrecision(3)}x`, ''];
  return [`${Number(row.median.toPrecision(4))} ${row.unit}`, ''];
}

function count(n) {
  if (n >= 1e6) return `${(n / 1e6).toPrecision(3)}M`;
  if (n >= 1e4) return `${(n / 1e3).toPrecision(3)}K`;
  return `${Math.round(n)}`;
}

function time(ms) {
  if (ms >= 1000) return `${(ms / 1000).toPrecision(3)} s`;
  if (ms >= 1) return `${ms.toPrecision(3)} ms`;
  if (ms >= 1e-3) return `${(ms * 1e3).toPrecision(3)} µs`;
  return `${(ms * 1e6).toPrecision(3)} ns`;
}
