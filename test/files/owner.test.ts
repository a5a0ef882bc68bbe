import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { expect, onTestFinished, test } from 'vitest';
import {
  encodeOwner,
  isGone,
  isLeftBehind,
  type Owner,
  ownerSuffix,
  parseOwner,
  thisProcess,
} from '../../files/index.ts';

function gonePid(): number {
  return spawnSync('true').pid;
}

async function runningPid(): Promise<number> {
  const child = spawn('sleep', ['600']);
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  await once(child, 'spawn');
  return child.pid!;
}

function withPid(name: string, pid: number): string {
  return name.replace(`-${process.pid}-`, `-${pid}-`);
}

test('parseOwner reads what encodeOwner writes, and nothing else', () => {
  const owner = thisProcess();
  expect(owner).toMatchObject({ pid: process.pid, host: hostname() });
  expect(parseOwner(encodeOwner(owner))).toEqual(owner);
  for (const text of ['', '\n', '12 host\n', '0 a b c\n', '12 a b c', '12 a b c d\n', '99999999999 a b c\n'])
    expect(parseOwner(text), JSON.stringify(text)).toBeUndefined();
});

test('isGone says no when the process runs, and yes when it does not', async () => {
  expect(isGone(thisProcess())).toBe(false);
  expect(isGone({ ...thisProcess(), pid: gonePid() })).toBe(true);
  expect(isGone({ ...thisProcess(), pid: await runningPid(), started: '-' })).toBe(false);
});

test('isGone says yes when the process was killed and nobody has asked how it ended', async () => {
  const script = 'sleep 600 & echo $!; exec sleep 600';
  const parent = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  onTestFinished(() => {
    parent.kill('SIGKILL');
  });
  const [text] = await once(parent.stdout, 'data');
  const pid = Number(String(text));
  expect(isGone({ ...thisProcess(), pid, started: '-' })).toBe(false);
  process.kill(pid, 'SIGKILL');
  while (!readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z '))
    await new Promise((resolve) => setTimeout(resolve, 5));
  expect(isGone({ ...thisProcess(), pid, started: '-' })).toBe(true);
});

test('isGone says yes when another process has the number now', async () => {
  expect(isGone({ ...thisProcess(), pid: await runningPid(), started: '1' })).toBe(true);
});

const ownMachine = thisProcess().place.split('.')[2]!;

function anotherBoot(machine: string): string {
  return `another-boot.4026531836.${machine}`;
}

test.each<[string, Partial<Owner>, boolean]>([
  ['another machine', { host: 'elsewhere' }, false],
  ['another container on the same system', { place: `${thisProcess().place}9` }, false],
  ['the system before it was started again', { place: anotherBoot(ownMachine) }, true],
  ['another machine of the same name', { place: anotherBoot('0123abcd') }, false],
  ['a machine of the same name that has no id', { place: anotherBoot('-') }, false],
  ['a system that says nothing', { place: '-.-.-' }, false],
])('isGone judges a process of %s without asking for its number here', (_, change, gone) => {
  expect(isGone({ ...thisProcess(), pid: gonePid(), ...change })).toBe(gone);
});

test('isLeftBehind tells from a name whether its process runs', () => {
  const name = `tmp_pack${ownerSuffix('0123456789ab')}`;
  expect(isLeftBehind(name)).toBe(false);
  expect(isLeftBehind(withPid(name, gonePid()))).toBe(true);
});

test('isLeftBehind says nothing of names that no process of this system has made', () => {
  const name = `tmp_pack${ownerSuffix('0123456789ab')}`;
  const other = withPid(name, gonePid()).replace(/_[0-9a-f]{8}-/, '_00000000-');
  for (const each of [other, 'tmp_pack_Xy12ab', 'tmp_obj_0123456789ab', '', 'pack-12.idx'])
    expect(isLeftBehind(each), each).toBeUndefined();
});
