import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { RawFile } from '../../../block/index.ts';
import { openDisk } from '../../../store/commit/open-disk.ts';
import { openForeign } from '../../../store/foreign/open.ts';
import { refuseOtherFiles } from '../../../store/foreign/opened-files.ts';
import { commitVersion } from '../../../store/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { PROGRAM } from '../../cmd/imgstore.ts';
import { qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { newStore } from '../new-store.ts';

/** Makes a disk of 1 MiB with some data in a format. */
async function image(path: string, format: string, ...options: readonly string[]): Promise<void> {
  const raw = `${path}.source`;
  await writeFile(raw, Buffer.alloc(1 << 20, 3));
  await qemuImg('convert', '-f', 'raw', '-O', format, ...options, raw, path);
}

/** Pids of the programs of a name that a process has started. */
async function children(name: string, parent = process.pid): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
      return status.startsWith(`Name:\t${name}\n`) && status.includes(`\nPPid:\t${parent}\n`)
        ? [Number(pid)]
        : [];
    }),
  );
  return found.flat();
}

async function socketFolders(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.startsWith('imgstore-nbd-'));
}

/** Puts temporary folders of this process into one of the test's own. */
async function ownTemporaryFolder(): Promise<string> {
  const folder = await temporaryFolder();
  useTemporaryFolder(folder);
  return folder;
}

function useTemporaryFolder(folder: string): void {
  const before = process.env.TMPDIR;
  process.env.TMPDIR = folder;
  onTestFinished(() => {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  });
}

/** Starts imgstore on an image with a `qemu-nbd` that never serves, and waits until that runs. */
async function startWithStuckServer() {
  const { file, path } = await newStore();
  await image(file('a.vdi'), 'vdi');
  const bin = file('bin');
  await mkdir(bin);
  await writeFile(join(bin, 'qemu-nbd'), '#!/bin/sh\necho $$ >"$TMPDIR/pid"\nexec sleep 600\n');
  await chmod(join(bin, 'qemu-nbd'), 0o755);
  const temporary = await temporaryFolder();
  const imgstore = spawn(process.execPath, [PROGRAM, '--store', path, 'commit', file('a.vdi')], {
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}`, TMPDIR: temporary },
    stdio: 'ignore',
  });
  const ended = once(imgstore, 'exit');
  while (!(await readdir(temporary)).includes('pid')) await sleep(5);
  return { imgstore, ended, temporary };
}

test('openDisk of a VDI ends qemu-nbd and leaves no folder when it is closed', async () => {
  const { file } = await newStore();
  await image(file('a,b.vdi'), 'vdi');
  const folder = await ownTemporaryFolder();
  const disk = await openDisk(file('a,b.vdi'), {});
  expect(await children('qemu-nbd')).toHaveLength(1);
  // Nobody else can connect, nor would anything stay after a kill.
  expect(await socketFolders(folder)).toEqual([]);
  const bytes = Buffer.alloc(100);
  await disk.source.read(0, bytes);
  expect(bytes.every((byte) => byte === 3)).toBe(true);
  await disk.source.close();
  await disk.source.close();
  expect(await children('qemu-nbd')).toEqual([]);
});

test('openDisk that fails ends qemu-nbd and leaves no folder', async () => {
  const { file } = await newStore();
  await image(file('a.vdi'), 'vdi');
  const handle = await open(file('a.vdi'), 'r+');
  await handle.write(Buffer.from([99]), 0, 1, 0x44);
  await handle.close();
  const folder = await ownTemporaryFolder();
  await expect(openDisk(file('a.vdi'), {})).rejects.toMatchObject({ code: 'BAD_IMAGE' });
  expect(await children('qemu-nbd')).toEqual([]);
  expect(await socketFolders(folder)).toEqual([]);
});

test('openDisk of a VDI says which folder for temporary files is not there', async () => {
  const { file } = await newStore();
  await image(file('a.vdi'), 'vdi');
  useTemporaryFolder(file('nowhere'));
  await expect(openDisk(file('a.vdi'), {})).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: `the folder for temporary files (TMPDIR), ${file('nowhere')}: no such file or folder`,
  });
});

test('read of a foreign disk says in one line how qemu-nbd ended when it ends early', async () => {
  const { file } = await newStore();
  await image(file('a.vdi'), 'vdi');
  const disk = await openDisk(file('a.vdi'), {});
  onTestFinished(() => disk.source.close());
  const [pid] = await children('qemu-nbd');
  process.kill(pid!, 'SIGKILL');
  await expect(disk.source.read(0, Buffer.alloc(512))).rejects.toMatchObject({
    code: 'NBD',
    message: `${file('a.vdi')}: qemu-nbd ended while it read the image: signal SIGKILL`,
  });
});

test('a qemu-nbd that does not come up ends when imgstore is killed', async () => {
  const { imgstore, ended } = await startWithStuckServer();
  const [pid] = await children('sleep', imgstore.pid);
  imgstore.kill('SIGKILL');
  await ended;
  while (isAlive(pid!)) await sleep(5);
});

test('imgstore that is interrupted takes qemu-nbd and its folder away', async () => {
  const { imgstore, ended, temporary } = await startWithStuckServer();
  expect(await socketFolders(temporary)).toHaveLength(1);
  imgstore.kill('SIGINT');
  expect(await ended).toEqual([130, null]);
  expect(await socketFolders(temporary)).toEqual([]);
});

test('imgstore refuses an image for which QEMU opens a file that nobody has checked', async () => {
  const { file, path } = await newStore();
  await image(file('a.vdi'), 'vdi');
  await writeFile(file('secret'), 'secret');
  const bin = file('bin');
  await mkdir(bin);
  const real = (process.env.PATH ?? '')
    .split(':')
    .map((folder) => `${folder}/qemu-nbd`)
    .find((name) => existsSync(name));
  await writeFile(join(bin, 'qemu-nbd'), `#!/bin/sh\nexec 9<'${file('secret')}'\nexec ${real} "$@"\n`);
  await chmod(join(bin, 'qemu-nbd'), 0o755);
  const imgstore = spawn(process.execPath, [PROGRAM, '--store', path, 'commit', file('a.vdi')], {
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let text = '';
  imgstore.stderr.on('data', (chunk) => {
    text += String(chunk);
  });
  const [code] = await once(imgstore, 'close');
  expect([code, text]).toEqual([1, expect.stringMatching(/a\.vdi: made QEMU open ".*secret"/)]);
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('commitVersion throws IN_USE for a VMDK extent that QEMU writes to, unless it may be shared', async () => {
  const { store, file } = await newStore();
  await image(file('web.vmdk'), 'vmdk', '-o', 'subformat=monolithicFlat');
  const child = spawn('qemu-io', ['-f', 'raw', file('web-flat.vmdk')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(async () => {
    const ended = once(child, 'exit');
    child.stdin.end('quit\n');
    await ended;
  });
  await once(child.stdout, 'data');
  const commit = (forceShare: boolean) =>
    commitVersion(store, { disks: [{ name: 'vda', path: file('web.vmdk') }], forceShare });
  await expect(commit(false)).rejects.toMatchObject({
    code: 'IN_USE',
    message: expect.stringContaining('web-flat.vmdk: a running QEMU'),
  });
  expect((await commit(true)).unchanged).toBe(false);
});

test('openForeign throws IN_USE when QEMU finds a lock that came after the look for one', async () => {
  const { file } = await newStore();
  await image(file('web.vdi'), 'vdi');
  const child = spawn('qemu-io', ['-f', 'vdi', file('web.vdi')], { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(async () => {
    const ended = once(child, 'exit');
    child.stdin.end('quit\n');
    await ended;
  });
  await once(child.stdout, 'data');
  const raw = await RawFile.open(file('web.vdi'));
  onTestFinished(() => raw.close());
  await expect(openForeign(file('web.vdi'), 'vdi', [raw], false)).rejects.toMatchObject({ code: 'IN_USE' });
  await (await openForeign(file('web.vdi'), 'vdi', [raw], true)).close();
});

test('commitVersion reads a VMDK again when one of its extents has changed', async () => {
  const { store, file } = await newStore();
  await image(file('web.vmdk'), 'vmdk', '-o', 'subformat=monolithicFlat');
  await sleep(60);
  const commit = () => commitVersion(store, { disks: [{ name: 'vda', path: file('web.vmdk') }] });
  await commit();
  expect(await commit()).toMatchObject({ unchanged: true, disks: [{ readBytes: 0 }] });
  const flat = await open(file('web-flat.vmdk'), 'r+');
  await flat.write(Buffer.alloc(10, 9), 0, 10, 5000);
  await flat.close();
  expect(await commit()).toMatchObject({ unchanged: false, disks: [{ newClusters: 1 }] });
});

test('refuseOtherFiles throws FORBIDDEN for a file that a process has open and nobody has checked', async () => {
  const { file } = await newStore();
  await qemuImg('create', '-f', 'raw', file('base.raw'), '1M');
  await qemuImg('create', '-f', 'qcow2', '-b', file('base.raw'), '-F', 'raw', file('top.qcow2'));
  await qemuIo(file('top.qcow2'), 'write 0 64k');
  const child = spawn('qemu-io', ['-r', '-f', 'qcow2', file('top.qcow2')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(async () => {
    const ended = once(child, 'exit');
    child.stdin.end('quit\n');
    await ended;
  });
  await once(child.stdout, 'data');
  const files = [await RawFile.open(file('top.qcow2')), await RawFile.open(file('base.raw'))];
  onTestFinished(async () => {
    for (const each of files) await each.close();
  });
  await refuseOtherFiles(child.pid!, files, 'top.qcow2');
  await expect(refuseOtherFiles(child.pid!, files.slice(0, 1), 'top.qcow2')).rejects.toMatchObject({
    code: 'FORBIDDEN',
    message: expect.stringContaining(`"${file('base.raw')}"`),
  });
});
