// Options of the scripts: what `node:util` parses, with errors that say what to do instead of a stack.
import process from 'node:process';
import { parseArgs } from 'node:util';

/**
 * The options given. Prints the help and ends where `--help` is among them; ends with 2 where one is unknown.
 *
 * @param {import('node:util').ParseArgsConfig['options']} options without `help`
 * @param {string} help
 */
export function readOptions(options, help) {
  let values;
  try {
    ({ values } = parseArgs({ options: { ...options, help: { type: 'boolean', short: 'h' } } }));
  } catch (error) {
    refuse(`${error.message}\n\n${help}`);
  }
  if (!values.help) return values;
  console.log(help);
  process.exit(0);
}

/** The number that the text of an option is; ends with 2 where it is none, or below `min`. */
export function wholeNumber(name, text, min) {
  const number = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(number) || number < min)
    refuse(`--${name} must be a whole number from ${min} on, not \`${text}\``);
  return number;
}

/** Ends with 2 where something is asked for that is not known. */
export function refuseUnknown(what, asked, known) {
  const unknown = asked.find((name) => !known.includes(name));
  if (unknown !== undefined) refuse(`no ${what} \`${unknown}\`; there are ${known.join(', ')}`);
}

function refuse(message) {
  console.error(message);
  process.exit(2);
}
