import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import type { TestStore } from '../new-store.ts';

/** A program in the place of imgstore, and how often it was started. */
export interface FakeImgstore {
  readonly command: readonly string[];
  readonly pids: () => number[];
}

/**
 * A program that takes the command line by which a server is started, and runs a shell script with the socket as `$socket`. Whatever it starts is ended with the test.
 */
export function fakeImgstore({ file }: TestStore, script: string): FakeImgstore {
  const path = file('imgstore.sh');
  const list = file('pids');
  const checked = `[ "$1 $3 $4" = "--store serve --socket" ] || { echo "wrong: $*" >&2; exit 9; }`;
  writeFileSync(path, `echo $$ >> '${list}'\n${checked}\nsocket=$5\n${script}\n`);
  const pids = () => (existsSync(list) ? readFileSync(list, 'utf8').trim().split('\n').map(Number) : []);
  onTestFinished(async () => {
    for (const pid of pids()) while (isRunning(pid)) await sleep(5);
  });
  return { command: ['/bin/sh', path], pids };
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 'SIGTERM');
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** What makes of the fake a server that shows a raw file under a name. */
export function serving(file: string, name: string): string {
  return `exec qemu-nbd -r -t -e 20 -f raw -x '${name}' -k "$socket" '${file}'`;
}
