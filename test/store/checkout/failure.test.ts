import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { watchPoints } from '../../../files/index.ts';
import { checkoutVersion } from '../../../store/index.ts';
import { noise } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { git, gitWith } from '../git.ts';
import { commitBytes, newStore, reopen, SMALL } from '../new-store.ts';

/** Turns one byte of a file over. */
function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  const place = at < 0 ? bytes.length + at : at;
  bytes[place]! ^= 0xff;
  chmodSync(path, 0o644);
  writeFileSync(path, bytes);
}

const OUTPUTS = ['out.raw', 'out.qcow2'];

test.each(OUTPUTS)(
  'checkoutVersion throws DAMAGED for a loose cluster that is not what it was, and leaves no %s',
  async (name) => {
    const made = await newStore();
    await commitBytes(made, 'web', diskOf([1, 2, 3, 0, 4]));
    const id = await git(made.path, 'rev-parse', 'web:disks/vda/02');
    const path = made.store.objects.loose.path(id);
    for (const at of [0, 30, -1]) {
      flip(path, at);
      await expect(
        checkoutVersion(made.store, { revision: 'web', output: made.file(name) }),
      ).rejects.toMatchObject({
        code: 'DAMAGED',
        message: expect.stringContaining(path),
      });
      flip(path, at);
    }
    expect(readdirSync(made.file('.')).sort()).toEqual(['.imgstore', 'web.raw']);
    await checkoutVersion(made.store, { revision: 'web', output: made.file(name) });
  },
);

test.each([3, 18])(
  'checkoutVersion throws DAMAGED for a byte turned over in the pack of %i MiB, and leaves nothing',
  async (mebibytes) => {
    const made = await newStore(65536, { unpackLimit: 1 });
    await commitBytes(made, 'web', noise(mebibytes * 2 ** 20, 3));
    const pack = readdirSync(join(made.path, 'objects/pack')).find((file) => file.endsWith('.pack'))!;
    flip(join(made.path, 'objects/pack', pack), 2 * 2 ** 20);
    const store = await reopen(made.path);
    for (const name of OUTPUTS)
      await expect(
        checkoutVersion(store, { revision: 'web', output: made.file(name) }),
      ).rejects.toMatchObject({
        code: 'DAMAGED',
        message: expect.stringContaining(pack),
      });
    expect(readdirSync(made.file('.')).sort()).toEqual(['.imgstore', 'web.raw']);
  },
);

test('checkoutVersion throws DAMAGED for a cluster that holds another object of the store', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2]));
  const [a, b] = await Promise.all(
    ['00', '01'].map((slot) => git(made.path, 'rev-parse', `web:disks/vda/${slot}`)),
  );
  const { loose } = made.store.objects;
  chmodSync(loose.path(a!), 0o644);
  writeFileSync(loose.path(a!), readFileSync(loose.path(b!)));
  await expect(
    checkoutVersion(made.store, { revision: 'web', output: made.file('out.raw') }),
  ).rejects.toMatchObject({
    code: 'DAMAGED',
    message: expect.stringContaining(a!),
  });
});

test.each(OUTPUTS)('checkoutVersion leaves no part of %s when there is no room for it', async (name) => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 3]));
  for (const point of ['checkout.create', 'checkout.write', 'checkout.link', 'checkout.rename']) {
    const stop = watchPoints((at) => {
      if (at === point) throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
    });
    onTestFinished(stop);
    const request = { revision: 'web', output: made.file(name), force: point === 'checkout.rename' };
    await expect(checkoutVersion(made.store, request)).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('no space left'),
    });
    stop();
  }
  expect(readdirSync(made.file('.')).sort()).toEqual(['.imgstore', 'web.raw']);
});

test.each(OUTPUTS)('checkoutVersion leaves no part of %s when it is stopped', async (name) => {
  const made = await newStore(65536, { unpackLimit: 1 });
  await commitBytes(made, 'web', noise(10 * 2 ** 20, 3));
  const stop = new AbortController();
  const monitor = { signal: stop.signal, onProgress: () => stop.abort() };
  const request = { revision: 'web', output: made.file(name) };
  await expect(checkoutVersion(made.store, request, monitor)).rejects.toMatchObject({ code: 'INTERRUPTED' });
  expect(readdirSync(made.file('.')).sort()).toEqual(['.imgstore', 'web.raw']);
});

test('checkoutVersion leaves a file that it was to replace when it fails', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2]));
  writeFileSync(made.file('out.raw'), 'mine');
  flip(made.store.objects.loose.path(await git(made.path, 'rev-parse', 'web:disks/vda/01')), 40);
  const request = { revision: 'web', output: made.file('out.raw'), force: true };
  await expect(checkoutVersion(made.store, request)).rejects.toMatchObject({ code: 'DAMAGED' });
  expect(readFileSync(made.file('out.raw'), 'utf8')).toBe('mine');
});

test('checkoutVersion throws for a map that does not fit its disk', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 3]));
  const image = { version: 1, clusterSize: SMALL, disks: { vda: { virtualSize: 2 * SMALL - 5, levels: 1 } } };
  writeFileSync(made.file('image.json'), JSON.stringify(image));
  const blob = await git(made.path, 'hash-object', '-w', made.file('image.json'));
  const disks = await git(made.path, 'rev-parse', 'web:disks');
  const tree = gitWith(
    made.path,
    { input: `040000 tree ${disks}\tdisks\n100644 blob ${blob}\timage.json\n` },
    'mktree',
  );
  await git(made.path, 'tag', 'odd', await git(made.path, 'commit-tree', '-m', 'odd', tree));
  for (const name of OUTPUTS)
    await expect(
      checkoutVersion(made.store, { revision: 'odd', output: made.file(name) }),
    ).rejects.toMatchObject({
      code: 'DAMAGED',
    });
});
