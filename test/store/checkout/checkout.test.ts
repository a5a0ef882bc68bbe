import {
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { watchPoints } from '../../../files/index.ts';
import { clusterCount, mapLevels } from '../../../objects/index.ts';
import { openImage } from '../../../qcow2/index.ts';
import { checkoutVersion, commitVersion } from '../../../store/index.ts';
import { createOverlay, noise, qemuBytes, qemuCheck, qemuImg, qemuIo, readAll } from '../../qcow2/qemu.ts';
import { diskOf, diskPlans, planned } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, reopen, SMALL } from '../new-store.ts';
import { readBack } from '../read-back.ts';
import { commitTree } from '../version/make-version.ts';

/** A disk as a qcow2 shows it: whole sectors. */
function sectors(disk: Buffer): Buffer {
  return Buffer.concat([disk, Buffer.alloc(-disk.length & 511)]);
}

/** Fails unless QEMU and our own reader both see just these bytes in an image that QEMU finds whole. */
async function holds(image: string, disk: Buffer): Promise<void> {
  await qemuCheck(image);
  expect((await qemuBytes(image)).equals(sectors(disk)), 'as QEMU reads it').toBe(true);
  const { source } = await openImage(image);
  const bytes = await readAll(source);
  await source.close();
  expect(bytes.equals(sectors(disk)), 'as we read it').toBe(true);
}

const DISKS: [string, Buffer][] = [
  ['some data', diskOf([1, 0, 2, 2, 0])],
  ['zeros', diskOf([0, 0, 0])],
  ['no bytes', Buffer.alloc(0)],
  ['one byte', Buffer.of(9)],
  ['an end within a cluster', diskOf([1, 2, 3], SMALL, 1000)],
  ['an end within a sector', diskOf([0, 2, 3], SMALL, 1001)],
  [
    'more clusters than a table has',
    Buffer.concat([noise(SMALL, 1), Buffer.alloc(600 * SMALL), noise(700, 2)]),
  ],
];

describe.each(DISKS)('a disk of %s', (_, disk) => {
  test('checkoutVersion writes it as qcow2 that QEMU reads and finds nothing wrong with', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', disk);
    const image = made.file('out.qcow2');
    const result = await checkoutVersion(made.store, { revision: 'web', output: image });
    expect(result).toMatchObject({ file: image, format: 'qcow2', virtualSize: disk.length, backing: null });
    await holds(image, disk);
  });

  test('checkoutVersion writes it as raw, sparse', async () => {
    const made = await newStore();
    const { disks } = await commitBytes(made, 'web', disk);
    const image = made.file('out.raw');
    const result = await checkoutVersion(made.store, { revision: 'web', output: image });
    expect(result.format).toBe('raw');
    expect(result.writtenBytes).toBeLessThanOrEqual(disks[0]!.clusters * SMALL);
    expect((await readFile(image)).equals(disk)).toBe(true);
    expect(statSync(image).blocks * 512).toBeLessThanOrEqual(disks[0]!.clusters * SMALL);
  });
});

test.each([
  ['the tree', 'web~1^{tree}'],
  ['the root of the map', 'web~1:disks/vda'],
])(
  'checkoutVersion reads a backing file when %s of the version that it is known to hold is lost',
  async (_, lost) => {
    const made = await newStore();
    const [before, after] = [diskOf([1, 2, 3]), diskOf([1, 4, 3])];
    await commitBytes(made, 'web', before);
    const [base, image] = [made.file('base.qcow2'), made.file('now.qcow2')];
    await checkoutVersion(made.store, { revision: 'web', output: base });
    await commitBytes(made, 'web', after);
    await rm(made.store.objects.loose.path(await git(made.path, 'rev-parse', lost)));
    const store = await reopen(made.path);
    const result = await checkoutVersion(store, { revision: 'web', output: image, backing: { file: base } });
    expect(result).toMatchObject({ backing: 'base.qcow2', writtenBytes: SMALL });
    await holds(image, after);
  },
);

test('checkoutVersion brings back every version of a random history, flat, in a chain and on a file', async () => {
  const version = diskPlans(24, 0, 512, 1000);
  await fc.assert(
    fc.asyncProperty(
      fc.array(version, { minLength: 2, maxLength: 3 }),
      fc.boolean(),
      async (versions, rawBase) => {
        const made = await newStore(SMALL, { unpackLimit: 8 });
        const disks = versions.map(planned);
        for (const disk of disks) await commitBytes(made, 'web', disk, { allowEmpty: true });
        const at = (i: number) => `web~${disks.length - 1 - i}`;
        const base = made.file(rawBase ? 'first.raw' : 'first.qcow2');
        await checkoutVersion(made.store, { revision: at(0), output: base });
        const whole = { revision: 'web', backing: 'chain' } as const;
        await checkoutVersion(made.store, { ...whole, output: made.file('chain.qcow2') });
        await holds(made.file('chain.qcow2'), disks.at(-1)!);
        for (const [i, disk] of disks.entries()) {
          const output = made.file(`on${i}.qcow2`);
          const result = await checkoutVersion(made.store, {
            revision: at(i),
            output,
            backing: { file: base },
          });
          expect(result.backing).toBe(rawBase ? 'first.raw' : 'first.qcow2');
          await holds(output, disk);
        }
      },
    ),
    { numRuns: 5 },
  );
});

test('checkoutVersion writes a large disk on all cores', async () => {
  const made = await newStore(65536);
  const disk = noise(17 * 2 ** 20 + 777, 5);
  await commitBytes(made, 'web', disk);
  await checkoutVersion(made.store, { revision: 'web', output: made.file('a.raw') });
  expect((await readFile(made.file('a.raw'))).equals(disk)).toBe(true);
  await checkoutVersion(made.store, { revision: 'web', output: made.file('a.qcow2') });
  await holds(made.file('a.qcow2'), disk);
});

describe('a chain', () => {
  const DISK = [diskOf([1, 2, 0]), diskOf([1, 3, 0]), diskOf([1, 3, 4])];

  const byName = (a: string, b: string) => (a < b ? -1 : 1);

  async function threeVersions() {
    const made = await newStore();
    const ids: string[] = [];
    for (const disk of DISK) ids.push((await commitBytes(made, 'web', disk)).commit);
    mkdirSync(made.file('out'));
    const bases = ids.map((id) => `base-${id.slice(0, 12)}-vda.qcow2`);
    const chain = (revision: string, name: string) =>
      checkoutVersion(made.store, { revision, output: made.file(`out/${name}`), backing: 'chain' });
    return { ...made, bases, chain };
  }

  test('checkoutVersion makes one read-only file for each earlier version, and only what changed in each', async () => {
    const { file, bases, chain } = await threeVersions();
    const result = await chain('web', 'top.qcow2');
    expect(result).toMatchObject({ backing: bases[1], writtenBytes: SMALL });
    expect(readdirSync(file('out')).sort(byName)).toEqual(['top.qcow2', ...bases.slice(0, 2)].sort(byName));
    for (const base of bases.slice(0, 2)) expect(statSync(file(`out/${base}`)).mode & 0o222).toBe(0);
    await holds(file('out/top.qcow2'), DISK[2]!);
    await holds(file(`out/${bases[1]}`), DISK[1]!);
  });

  test('checkoutVersion makes chains that still hold together in another folder', async () => {
    const { file, chain } = await threeVersions();
    await chain('web', 'top.qcow2');
    renameSync(file('out'), file('elsewhere'));
    await holds(file('elsewhere/top.qcow2'), DISK[2]!);
  });

  test('checkoutVersion uses the files of earlier versions that are there', async () => {
    const { file, bases, chain } = await threeVersions();
    await chain('web', 'top.qcow2');
    const before = bases.slice(0, 2).map((base) => statSync(file(`out/${base}`)).ino);
    await chain('web', 'other.qcow2');
    await chain('web~1', 'middle.qcow2');
    expect(bases.slice(0, 2).map((base) => statSync(file(`out/${base}`)).ino)).toEqual(before);
    await holds(file('out/other.qcow2'), DISK[2]!);
    await holds(file('out/middle.qcow2'), DISK[1]!);
  });

  test('checkoutVersion throws EXISTS for a file in the place of an earlier version that holds something else', async () => {
    const { file, bases, chain } = await threeVersions();
    await chain('web', 'top.qcow2');
    const base = file(`out/${bases[0]}`);
    await chmod(base, 0o644);
    await qemuIo(base, 'write -P 7 0 4k');
    await expect(chain('web', 'other.qcow2')).rejects.toMatchObject({
      code: 'EXISTS',
      message: expect.stringContaining(base),
    });
    expect(readdirSync(file('out')).sort(byName)).toEqual(['top.qcow2', ...bases.slice(0, 2)].sort(byName));
  });

  test('checkoutVersion makes one file of a first version', async () => {
    const { file, chain } = await threeVersions();
    expect((await chain('web~2', 'first.qcow2')).backing).toBeNull();
    expect(readdirSync(file('out'))).toEqual(['first.qcow2']);
    await holds(file('out/first.qcow2'), DISK[0]!);
  });
});

describe('on a file', () => {
  test('checkoutVersion writes what a file that it does not know lacks, wherever that is', async () => {
    const made = await newStore();
    const disk = diskOf([1, 2, 0, 4]);
    await commitBytes(made, 'web', disk);
    mkdirSync(made.file('deep/down'), { recursive: true });
    await writeFile(made.file('other.raw'), diskOf([1, 9, 9, 0, 9]));
    const output = made.file('deep/down/top.qcow2');
    const result = await checkoutVersion(made.store, {
      revision: 'web',
      output,
      backing: { file: made.file('other.raw') },
    });
    expect(result).toMatchObject({ backing: '../../other.raw', writtenBytes: 2 * SMALL });
    expect((await qemuBytes(output)).equals(disk)).toBe(true);
    await qemuCheck(output);
  });

  test.each(['a:b.raw', 'json:x.raw', 'with space.raw', 'ü.raw'])(
    'checkoutVersion stands on a file that is named %s',
    async (name) => {
      const made = await newStore();
      await commitBytes(made, 'web', diskOf([1, 2]));
      await writeFile(made.file(name), diskOf([1, 3]));
      const output = made.file('top.qcow2');
      await checkoutVersion(made.store, { revision: 'web', output, backing: { file: made.file(name) } });
      await holds(output, diskOf([1, 2]));
    },
  );

  test('checkoutVersion hides what a longer file has behind an end within a sector', async () => {
    const made = await newStore();
    const disk = diskOf([1, 2], SMALL, 100);
    await commitBytes(made, 'web', disk);
    await writeFile(made.file('longer.raw'), diskOf([1, 2, 3]));
    const output = made.file('top.qcow2');
    await checkoutVersion(made.store, {
      revision: 'web',
      output,
      backing: { file: made.file('longer.raw') },
    });
    await holds(output, disk);
  });

  test('checkoutVersion knows a file that was committed, and writes only the difference', async () => {
    const made = await newStore();
    await writeFile(made.file('old.raw'), diskOf([1, 2, 3, 4]));
    await sleep(60);
    await commitVersion(made.store, { disks: [{ name: 'vda', path: made.file('old.raw') }], branch: 'web' });
    const disk = diskOf([1, 5, 3]);
    await commitBytes(made, 'web', disk);
    const output = made.file('top.qcow2');
    const result = await checkoutVersion(made.store, {
      revision: 'web',
      output,
      backing: { file: made.file('old.raw') },
    });
    expect(result.writtenBytes).toBe(SMALL);
    await holds(output, disk);
  });

  test('checkoutVersion throws for itself, a missing file and a raw output', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', diskOf([1]));
    const image = made.file('a.qcow2');
    await checkoutVersion(made.store, { revision: 'web', output: image });
    const on = (file: string, output: string) =>
      checkoutVersion(made.store, { revision: 'web', output, backing: { file }, force: true });
    await expect(on(image, image)).rejects.toMatchObject({ code: 'USAGE' });
    await expect(on(made.file('none.raw'), made.file('b.qcow2'))).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(on(image, made.file('b.raw'))).rejects.toMatchObject({ code: 'USAGE' });
    expect(readdirSync(made.file('.')).sort()).toEqual(['.imgstore', 'a.qcow2', 'web.raw']);
  });
});

test('checkoutVersion stands on a file whose own backing file is in a folder that is allowed', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 3]));
  for (const folder of ['bottom', 'top', 'out']) mkdirSync(made.file(folder));
  await writeFile(made.file('bottom/base.raw'), diskOf([1, 2, 0]));
  const file = made.file('top/middle.qcow2');
  await createOverlay(file, '../bottom/base.raw', 'raw');
  const request = { revision: 'web', output: made.file('out/web.qcow2'), backing: { file } };
  await expect(checkoutVersion(made.store, request)).rejects.toMatchObject({
    code: 'FORBIDDEN',
    message: expect.stringContaining(`--allow-backing ${made.file('bottom')}`),
  });
  expect(readdirSync(made.file('out'))).toEqual([]);
  const allowBacking = [made.file('bottom')];
  const result = await checkoutVersion(made.store, { ...request, allowBacking });
  expect(result).toMatchObject({ backing: '../top/middle.qcow2', writtenBytes: SMALL });
  expect((await qemuBytes(request.output)).equals(diskOf([1, 2, 3]))).toBe(true);
  // What it holds is known at once.
  const disks = [{ name: 'vda', path: request.output }];
  const commit = { disks, branch: 'web', allowBacking: [...allowBacking, made.file('top')] };
  expect(await commitVersion(made.store, commit)).toMatchObject({
    unchanged: true,
    disks: [{ readBytes: 0 }],
  });
});

describe('a backing file that changes', () => {
  const BASE = diskOf([1, 2, 3]);

  test.each([
    ['is known to the store', true],
    ['is not known', false],
  ])(
    'checkoutVersion throws IN_USE when one that %s is written to meanwhile, and leaves no file',
    async (_, isKnown) => {
      const made = await newStore();
      const file = made.file('base.raw');
      await writeFile(file, BASE);
      if (isKnown) await commitVersion(made.store, { disks: [{ name: 'vda', path: file }], branch: 'base' });
      await commitBytes(made, 'web', diskOf([1, 5, 3]));
      const stop = watchPoints((point) => {
        // In no file's size does it show, nor in the time of the last write, which anybody may set.
        if (point !== 'checkout.create') return;
        const { atime, mtime } = statSync(file);
        writeFileSync(file, diskOf([1, 2, 4]));
        utimesSync(file, atime, mtime);
      });
      onTestFinished(stop);
      const files = readdirSync(made.file('.'));
      const request = { revision: 'web', output: made.file('out.qcow2'), backing: { file } };
      await expect(checkoutVersion(made.store, request)).rejects.toMatchObject({
        code: 'IN_USE',
        message: expect.stringContaining(file),
      });
      expect(readdirSync(made.file('.'))).toEqual(files);
    },
  );

  test.each([
    ['before the new file has its name', 'checkout.write', false],
    ['when the new file gets its name', 'checkout.link', false],
    ['before the new file is kept track of', 'checkout.link', true],
  ])(
    'an overlay is not taken for the version when its backing file is written to %s',
    async (_, at, track) => {
      const made = await newStore();
      const file = made.file('base.raw');
      await writeFile(file, BASE);
      await commitBytes(made, 'web', diskOf([1, 5, 3]));
      const stop = watchPoints((point) => {
        if (point !== at) return;
        writeFileSync(file, diskOf([1, 2, 4]));
        const time = statSync(made.path).mtimeMs / 1000;
        utimesSync(file, time, time);
        // As a slow checkout, which has not come to look at it for as long as a clock may stand still.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
      });
      const output = made.file('out.qcow2');
      const files = readdirSync(made.file('.'));
      const done = await checkoutVersion(made.store, {
        revision: 'web',
        output,
        backing: { file },
        track,
      }).then(
        () => 'done',
        ({ code }) => code,
      );
      stop();
      expect(done).toBe(at === 'checkout.write' ? 'IN_USE' : 'done');
      if (at === 'checkout.write') return expect(readdirSync(made.file('.'))).toEqual(files);
      const disks = [{ name: 'vda', path: output }];
      await commitVersion(made.store, { disks, branch: 'vm' });
      expect((await readBack(made.store, 'vm')).equals(await qemuBytes(output))).toBe(true);
    },
  );

  test('checkoutVersion compares with one that was written to since it was committed', async () => {
    const made = await newStore();
    const file = made.file('base.raw');
    await writeFile(file, BASE);
    await commitVersion(made.store, { disks: [{ name: 'vda', path: file }], branch: 'base' });
    const wanted = diskOf([1, 5, 3]);
    await commitBytes(made, 'web', wanted);
    await writeFile(file, diskOf([1, 2, 4]));
    const output = made.file('out.qcow2');
    const result = await checkoutVersion(made.store, { revision: 'web', output, backing: { file } });
    expect(result.writtenBytes).toBe(2 * SMALL);
    expect((await qemuBytes(output)).equals(wanted)).toBe(true);
  });
});

describe('the output', () => {
  test('checkoutVersion throws EXISTS for a file that comes while it writes, and leaves it', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', diskOf([1]));
    const output = made.file('out.raw');
    const stop = watchPoints((point) => {
      if (point === 'checkout.link') writeFileSync(output, 'mine');
    });
    onTestFinished(stop);
    await expect(checkoutVersion(made.store, { revision: 'web', output })).rejects.toMatchObject({
      code: 'EXISTS',
    });
    expect(await readFile(output, 'utf8')).toBe('mine');
    expect(readdirSync(made.file('.')).sort()).toEqual(['.imgstore', 'out.raw', 'web.raw']);
  });

  test.each(['out.raw', 'out.qcow2'])(
    'checkoutVersion throws one clear line for a disk that no %s can hold',
    async (name) => {
      const made = await newStore();
      const virtualSize = Number.MAX_SAFE_INTEGER;
      const levels = mapLevels(clusterCount(virtualSize, SMALL));
      const record = { version: 1, clusterSize: SMALL, disks: { vda: { virtualSize, levels } } };
      const id = await commitTree(made.store, { 'image.json': JSON.stringify(record), disks: [] });
      const stop = watchPoints((point) => {
        if (point !== 'checkout.write') return;
        // Not every file system refuses it.
        throw Object.assign(new Error('too large'), { code: 'EFBIG' });
      });
      onTestFinished(stop);
      const request = { revision: id, output: made.file(name) };
      await expect(checkoutVersion(made.store, request)).rejects.toMatchObject({
        code: name === 'out.raw' ? 'IO' : 'UNSUPPORTED',
        message: expect.stringMatching(
          new RegExp(`^${request.output}: .*${virtualSize} bytes.*: use --format`),
        ),
      });
      expect(readdirSync(made.file('.'))).toEqual(['.imgstore']);
    },
  );

  test('checkoutVersion throws EXISTS for a file that is there and replaces it when forced', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', diskOf([1]));
    const output = made.file('out.raw');
    await writeFile(output, 'mine');
    await expect(checkoutVersion(made.store, { revision: 'web', output })).rejects.toMatchObject({
      code: 'EXISTS',
    });
    expect(await readFile(output, 'utf8')).toBe('mine');
    await checkoutVersion(made.store, { revision: 'web', output, force: true });
    expect((await readFile(output)).equals(diskOf([1]))).toBe(true);
  });

  test('checkoutVersion throws EXISTS for a folder, even when forced, and IO where no file can be', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', diskOf([1]));
    mkdirSync(made.file('folder'));
    symlinkSync('nowhere', made.file('link.raw'));
    symlinkSync('/dev/null', made.file('device.raw'));
    symlinkSync('folder', made.file('folder.raw'));
    const out = (name: string, force: boolean) =>
      checkoutVersion(made.store, { revision: 'web', output: made.file(name), force });
    await expect(out('folder', true)).rejects.toMatchObject({ code: 'EXISTS' });
    for (const name of ['device.raw', 'folder.raw']) {
      await expect(out(name, true)).rejects.toMatchObject({ code: 'EXISTS' });
      expect(lstatSync(made.file(name)).isSymbolicLink()).toBe(true);
    }
    await expect(out('n'.repeat(300), false)).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining(`${'n'.repeat(300)}: name too long`),
    });
    await expect(out('link.raw', false)).rejects.toMatchObject({ code: 'EXISTS' });
    await expect(out('none/x.raw', false)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(out('web.raw/x.raw', false)).rejects.toMatchObject({ code: 'IO' });
  });

  test('checkoutVersion wants to know which disk of several, and writes that one', async () => {
    const made = await newStore();
    await writeFile(made.file('a.raw'), diskOf([1]));
    await writeFile(made.file('b.raw'), diskOf([2, 3]));
    const disks = ['a', 'b'].map((name) => ({ name, path: made.file(`${name}.raw`) }));
    await commitVersion(made.store, { disks, branch: 'web' });
    const request = { revision: 'web', output: made.file('out.raw') };
    await expect(checkoutVersion(made.store, request)).rejects.toMatchObject({ code: 'USAGE' });
    await expect(checkoutVersion(made.store, { ...request, disk: 'c' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await checkoutVersion(made.store, { ...request, disk: 'b' });
    expect((await readFile(request.output)).equals(diskOf([2, 3]))).toBe(true);
  });

  test('checkoutVersion takes the format that is asked for over that of the name', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', diskOf([1]));
    const output = made.file('out.img');
    expect((await checkoutVersion(made.store, { revision: 'web', output, format: 'qcow2' })).format).toBe(
      'qcow2',
    );
    expect(JSON.parse(await qemuImg('info', '--output=json', output)).format).toBe('qcow2');
  });
});
