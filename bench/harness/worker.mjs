// Runs one bench in a process of its own and sends its rows to the parent.
import { Recorder } from './recorder.mjs';

const [file, id, quick] = process.argv.slice(2);
const { benches } = await import(file);
const bench = benches.find((candidate) => candidate.id === id);
const recorder = new Recorder({ quick: quick === 'quick' });
let problem;
try {
  await bench.run(recorder);
} catch (error) {
  problem = error instanceof Error ? (error.stack ?? error.message) : String(error);
} finally {
  await recorder.finish();
}
// Whatever a bench that failed has left open.
process.send({ rows: recorder.rows, problem }, () => process.exit());
