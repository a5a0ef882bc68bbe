import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type MountRequest, mountVersion } from '../../../store/index.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, type TestStore } from '../new-store.ts';
import { fakeImgstore, serving } from './fake-imgstore.ts';
import { qemuServes } from './qemu-serves.ts';

const DISK = diskOf([1, 2, 3, 0, 5]);

interface Place extends TestStore {
  readonly folder: string;
  readonly mount: (request?: Partial<MountRequest>, signal?: AbortSignal) => ReturnType<typeof mountVersion>;
}

/** A store with a version, and a folder to mount it in. */
async function place(): Promise<Place> {
  const made = await newStore();
  await commitBytes(made, 'web', DISK);
  const folder = made.file('mnt');
  mkdirSync(folder);
  const mount = (request: Partial<MountRequest> = {}, signal?: AbortSignal) =>
    mountVersion(made.store, { revision: 'web', folder, ...request }, { signal });
  return { ...made, folder, mount };
}

function hasFuse(): boolean {
  return (
    existsSync('/dev/fuse') && process.env.PATH!.split(':').some((path) => existsSync(`${path}/nbdfuse`))
  );
}

describe.runIf(hasFuse())('with nbdfuse', () => {
  test('mountVersion shows a version as a file for reading only, until it is unmounted', async () => {
    const made = await place();
    const { command } = fakeImgstore(
      made,
      serving(made.file('web.raw'), await git(made.path, 'rev-parse', 'web')),
    );
    const { file, virtualSize, ended } = await made.mount({ command });
    expect({ file, virtualSize }).toEqual({ file: `${made.folder}/nbd`, virtualSize: DISK.length });
    expect(readFileSync(file).equals(DISK)).toBe(true);
    expect(() => writeFileSync(file, 'x')).toThrow();
    execFileSync('fusermount3', ['-u', made.folder]);
    await ended;
    expect(readdirSync(made.folder)).toEqual([]);
  });

  test('mountVersion unmounts when it is stopped', async () => {
    const made = await place();
    await qemuServes(
      made.file('web.raw'),
      await git(made.path, 'rev-parse', 'web'),
      `${made.path}/imgstore/nbd.sock`,
    );
    const stop = new AbortController();
    const { ended } = await made.mount({}, stop.signal);
    expect(readdirSync(made.folder)).toEqual(['nbd']);
    stop.abort();
    await ended;
    expect(readdirSync(made.folder)).toEqual([]);
  });

  test('mountVersion throws what nbdfuse says', async () => {
    const made = await place();
    await qemuServes(
      made.file('web.raw'),
      await git(made.path, 'rev-parse', 'web'),
      `${made.path}/imgstore/nbd.sock`,
    );
    writeFileSync(made.file('nbdfuse'), '#!/bin/sh\necho "nbdfuse: it went wrong" >&2; exit 1\n', {
      mode: 0o755,
    });
    vi.stubEnv('PATH', made.file('.'));
    onTestFinished(() => void vi.unstubAllEnvs());
    await expect(made.mount()).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringMatching(/nbdfuse failed: nbdfuse: it went wrong$/),
    });
  });
});

test('mountVersion names the package when nbdfuse is not installed', async () => {
  const made = await place();
  vi.stubEnv('PATH', made.folder);
  onTestFinished(() => void vi.unstubAllEnvs());
  await expect(made.mount()).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('apt install libnbd-bin'),
  });
});

describe.runIf(hasFuse())('what is refused', () => {
  test.each([
    ['a folder that is not there', { folder: '/nowhere' }, 'NOT_FOUND'],
    ['a file', { folder: '/etc/passwd' }, 'USAGE'],
    ['a version that is not there', { revision: 'nothing' }, 'NOT_FOUND'],
    ['a disk that is not there', { disk: 'vdz' }, 'NOT_FOUND'],
    ['no server', {}, 'NBD'],
    ['the path of a socket that is too long', { socket: `/${'x'.repeat(120)}` }, 'USAGE'],
  ])('mountVersion throws for %s', async (_, request, code) => {
    const made = await place();
    await expect(made.mount(request)).rejects.toMatchObject({ code });
  });
});
