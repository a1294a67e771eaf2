#!/usr/bin/env node
import module from 'node:module';

// Node 22 keeps compiled code between runs, which halves the start; older ones go without.
module.enableCompileCache?.();

const { main } = await import('../dist/cli/main.js');
process.exitCode = await main(process.argv.slice(2));
