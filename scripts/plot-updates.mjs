// Draws the cost of one update against the size of the tree.
// Usage: node bench/run.mjs tree/update-curve --json FILE && node scripts/plot-updates.mjs FILE docs/update-cost.svg
import { readFileSync, writeFileSync } from 'node:fs';

const [input, output] = process.argv.slice(2);
if (output === undefined) throw new Error('usage: node scripts/plot-updates.mjs FILE.json FILE.svg');
const { machine, date, command, results } = JSON.parse(readFileSync(input, 'utf8'));
const { rows, sizes } = results.find(({ id }) => id === 'tree/update-curve');
const series = new Map();
for (const { name, median } of rows) {
  const found = /^(\w+), (\d+) policies: processor time$/.exec(name);
  if (found === null) continue;
  const [, shape, size] = found;
  series.set(shape, [...(series.get(shape) ?? []), { size: Number(size), ms: median }]);
}
const frame = { left: 70, right: 700, top: 60, bottom: 340 };
const points = [...series.values()].flat();
const powers = (values) => {
  const low = Math.floor(Math.log10(Math.min(...values)));
  return [low, Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))))];
};
const [xLow, xHigh] = powers(points.map(({ size }) => size));
const [yLow, yHigh] = powers(points.map(({ ms }) => ms));
const x = (size) => frame.left + ((Math.log10(size) - xLow) / (xHigh - xLow)) * (frame.right - frame.left);
const y = (ms) => frame.bottom - ((Math.log10(ms) - yLow) / (yHigh - yLow)) * (frame.bottom - frame.top);
const range = (low, high) => Array.from({ length: high - low + 1 }, (_, i) => low + i);
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
const text = (at, what, more = '') =>
  `<text x="${at[0].toFixed(1)}" y="${at[1].toFixed(1)}"${more}>${escaped(what)}</text>`;
const line = (from, to, stroke) =>
  `<path d="M${from.map((n) => n.toFixed(1))}L${to.map((n) => n.toFixed(1))}" stroke="${stroke}"/>`;
const time = (ms) => (ms < 1 ? `${Number((ms * 1000).toPrecision(3))} µs` : `${Number(ms.toPrecision(3))} ms`);
const colours = ['#0072b2', '#d55e00', '#009e73'];

const drawn = [...series].flatMap(([shape, list], i) => {
  const colour = colours[i];
  const path = list.map((each) => `${x(each.size).toFixed(1)},${y(each.ms).toFixed(1)}`).join(' ');
  const end = list.at(-1);
  return [
    `<polyline points="${path}" stroke="${colour}" stroke-width="2" fill="none"/>`,
    ...list.map(
      (each) => `<circle cx="${x(each.size).toFixed(1)}" cy="${y(each.ms).toFixed(1)}" r="3" fill="${colour}"/>`,
    ),
    ...list.map((each) =>
      text([x(each.size), y(each.ms) + 16], time(each.ms), ` fill="${colour}" text-anchor="middle" font-size="10"`),
    ),
    text([x(end.size) + 8, y(end.ms) - 6], shape, ` fill="${colour}"`),
  ];
});
writeFileSync(
  output,
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 440" font-family="sans-serif" font-size="12" role="img">
<title>Cost of one update against the size of the policy tree</title>
<rect width="800" height="440" fill="white"/>
${text([frame.left, 28], 'Processor time of one update of one policy, without fsync, against the policies in the tree', ' font-size="15"')}
${range(yLow, yHigh)
  .map((power) => line([frame.left, y(10 ** power)], [frame.right, y(10 ** power)], '#ddd'))
  .join('\n')}
${range(yLow, yHigh)
  .map((power) => text([frame.left - 8, y(10 ** power) + 4], time(10 ** power), ' text-anchor="end"'))
  .join('\n')}
${range(xLow, xHigh)
  .map((power) => line([x(10 ** power), frame.top], [x(10 ** power), frame.bottom], '#ddd'))
  .join('\n')}
${range(xLow, xHigh)
  .map((power) =>
    text([x(10 ** power), frame.bottom + 18], (10 ** power).toLocaleString('en'), ' text-anchor="middle"'),
  )
  .join('\n')}
${drawn.join('\n')}
${text([frame.left, 384], sizes, ' font-size="9" fill="#444"')}
${text([frame.left, 402], `${machine.cpu}, ${machine.memory}, Node ${machine.node}; ipe ${machine.ipe}, ${date.slice(0, 10)}`, ' font-size="10" fill="#444"')}
${text([frame.left, 420], command.replace(/ --json \S+/, ''), ' font-size="10" fill="#444"')}
</svg>
`,
);
