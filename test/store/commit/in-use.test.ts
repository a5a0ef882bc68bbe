import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { symlink } from 'node:fs/promises';
import { expect, onTestFinished, test } from 'vitest';
import { commitVersion } from '../../../store/index.ts';
import { qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { newStore } from '../new-store.ts';
import { qemuHolds } from '../qemu-holds.ts';

/** Starts a program that stays, and waits until it has printed `ready`. It ends with the test. */
async function start(ready: string, command: string, ...args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(async () => {
    const ended = once(child, 'exit');
    if (child.exitCode === null && child.kill('SIGKILL')) await ended;
  });
  let text = '';
  for await (const chunk of child.stdout) {
    text += String(chunk);
    if (text.includes(ready)) break;
  }
  return child;
}

async function images() {
  const made = await newStore();
  const base = made.file('base.qcow2');
  const top = made.file('top.qcow2');
  await qemuImg('create', '-f', 'qcow2', base, '1M');
  await qemuIo(base, 'write -P 1 0 64k');
  await qemuImg('create', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', top);
  const commit = (path: string, forceShare = false) =>
    commitVersion(made.store, { disks: [{ name: 'vda', path }], branch: 'web', forceShare });
  return { ...made, base, top, commit };
}

test('commitVersion throws IN_USE for an image that QEMU has open for writing, unless it may be shared', async () => {
  const { base, commit, store } = await images();
  await qemuHolds(base, '-f', 'qcow2');
  await expect(commit(base)).rejects.toMatchObject({
    code: 'IN_USE',
    // Also when a checkout is to stand on it, which has no such option.
    message: `${base}: a running QEMU has it open for writing: stop the machine, or read it as it is now, which commit and compare do with --force-share`,
  });
  expect(await store.refs.list()).toEqual([]);
  expect((await commit(base, true)).unchanged).toBe(false);
});

test('commitVersion throws IN_USE for a raw disk that QEMU has open for writing, by whatever name', async () => {
  const { file, commit } = await images();
  await qemuImg('create', '-f', 'raw', file('disk.raw'), '1M');
  await symlink('disk.raw', file('link.raw'));
  await qemuHolds(file('disk.raw'), '-f', 'raw');
  await expect(commit(file('link.raw'))).rejects.toMatchObject({ code: 'IN_USE' });
});

test('commitVersion throws IN_USE naming the backing file that QEMU writes to', async () => {
  const { base, top, commit } = await images();
  await qemuHolds(base, '-f', 'qcow2');
  await expect(commit(top)).rejects.toMatchObject({ code: 'IN_USE', message: expect.stringContaining(base) });
});

test('commitVersion stores an image that QEMU only reads, and the base of one that it writes to', async () => {
  const { base, top, commit } = await images();
  await qemuHolds(base, '-r', '-f', 'qcow2');
  expect((await commit(base)).unchanged).toBe(false);
  await qemuHolds(top, '-f', 'qcow2');
  expect((await commit(base)).unchanged).toBe(true);
});

test('commitVersion stores the image again when QEMU has closed it', async () => {
  const { base, commit } = await images();
  const child = spawn('qemu-io', ['-f', 'qcow2', base], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  const ended = once(child, 'exit');
  child.stdin.end('quit\n');
  await ended;
  expect((await commit(base)).unchanged).toBe(false);
});

test('commitVersion does not mind the locks of other programs', async () => {
  const { base, commit } = await images();
  await start('held', 'flock', '--no-fork', base, 'sh', '-c', 'echo held; exec sleep 600');
  expect((await commit(base)).unchanged).toBe(false);
});
