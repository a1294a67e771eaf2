import { readFileSync } from 'node:fs';

/** Version of this package, as its manifest states it. */
export const version: string = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
