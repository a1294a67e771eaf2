// What a figure has to be quoted with.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os';

/** Names and versions of everything a figure depends on. */
export function describeMachine() {
  return {
    cpu: `${availableParallelism()} x ${cpus()[0]?.model.trim() ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${platform()} ${release()} ${arch()}`,
    'load before': loadavg()[0].toFixed(1),
    node: process.version,
    ipe: JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version,
    commit: output('git', ['rev-parse', '--short', 'HEAD']),
    'rocksdb-native': dependencyVersion('rocksdb-native'),
    'redis-server': /v=(\S+)/.exec(output('redis-server', ['--version']))?.[1] ?? 'absent',
    'nats-server': /v?(\d+\.\d+\.\d+)/.exec(output('nats-server', ['--version']))?.[1] ?? 'absent',
  };
}

function output(command, args) {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'absent';
  }
}

function dependencyVersion(name) {
  const require = createRequire(new URL('../../packages/ipe/package.json', import.meta.url));
  try {
    return require(`${name}/package`).version;
  } catch {
    return 'absent';
  }
}
