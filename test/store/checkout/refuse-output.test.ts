import { linkSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { checkoutVersion } from '../../../store/index.ts';
import { createOverlay, qemuBytes } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, type TestStore } from '../new-store.ts';

const OLD = diskOf([1, 2, 0]);
const NEW = diskOf([1, 3, 4]);

/** Names and bytes of all files beside a store. */
function filesOf({ file }: TestStore): Record<string, string> {
  const names = readdirSync(file('.')).filter((name) => statSync(file(name)).isFile());
  return Object.fromEntries(names.map((name) => [name, readFileSync(file(name), 'base64')]));
}

/** A store with two versions, and what the base file of the older one is called. */
async function twoVersions() {
  const made = await newStore();
  const first = await commitBytes(made, 'web', OLD);
  await commitBytes(made, 'web', NEW);
  return { ...made, base: `base-${first.commit.slice(0, 12)}-vda.qcow2` };
}

test.each([false, true])(
  'checkoutVersion throws USAGE for the name of its own base file in a chain, there already or not: %s',
  async (there) => {
    const made = await twoVersions();
    if (there)
      await checkoutVersion(made.store, {
        revision: 'web',
        output: made.file('top.qcow2'),
        backing: 'chain',
      });
    const before = filesOf(made);
    mkdirSync(made.file('sub'));
    for (const output of [made.file(made.base), made.file(`sub/../${made.base}`)])
      for (const force of [false, true])
        await expect(
          checkoutVersion(made.store, { revision: 'web', output, backing: 'chain', force }),
        ).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('own backing file') });
    expect(filesOf(made)).toEqual(before);
  },
);

test('checkoutVersion throws USAGE for a link to a base file of its chain', async () => {
  const made = await twoVersions();
  const chain = (name: string) =>
    checkoutVersion(made.store, {
      revision: 'web',
      output: made.file(name),
      backing: 'chain',
      force: true,
    });
  await chain('top.qcow2');
  symlinkSync(made.base, made.file('symbolic.qcow2'));
  linkSync(made.file(made.base), made.file('hard.qcow2'));
  for (const name of ['symbolic.qcow2', 'hard.qcow2'])
    await expect(chain(name)).rejects.toMatchObject({ code: 'USAGE' });
});

/** A chain of QEMU's: top on middle on bottom; what is deeper holds the same. */
async function qemuChain() {
  const made = await twoVersions();
  await writeFile(made.file('bottom.raw'), OLD);
  await createOverlay(made.file('middle.qcow2'), 'bottom.raw', 'raw');
  symlinkSync('middle.qcow2', made.file('link.qcow2'));
  await createOverlay(made.file('top.qcow2'), 'link.qcow2');
  linkSync(made.file('bottom.raw'), made.file('hard.raw'));
  symlinkSync('.', made.file('folder'));
  return made;
}

test.each(['top.qcow2', 'middle.qcow2', 'bottom.raw', 'link.qcow2', 'hard.raw', 'folder/top.qcow2'])(
  'checkoutVersion throws USAGE for an output %s that is in the chain of its backing file',
  async (name) => {
    const made = await qemuChain();
    const before = filesOf(made);
    const request = { revision: 'web', output: made.file(name), format: 'qcow2' } as const;
    for (const force of [false, true])
      await expect(
        checkoutVersion(made.store, { ...request, backing: { file: made.file('top.qcow2') }, force }),
      ).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('own backing file') });
    expect(filesOf(made)).toEqual(before);
    expect((await qemuBytes(made.file('top.qcow2'))).equals(OLD)).toBe(true);
  },
);

test('checkoutVersion replaces a file that is not in the chain of its backing file', async () => {
  const made = await qemuChain();
  const output = made.file('other.qcow2');
  await writeFile(output, 'old');
  const backing = { file: made.file('top.qcow2') };
  await checkoutVersion(made.store, { revision: 'web', output, backing, force: true });
  expect((await qemuBytes(output)).equals(NEW)).toBe(true);
});

test('checkoutVersion leaves no new base file when its output is there already, or a cluster is damaged', async () => {
  const made = await twoVersions();
  await writeFile(made.file('top.qcow2'), 'mine');
  const before = filesOf(made);
  const chain = (name: string) =>
    checkoutVersion(made.store, { revision: 'web', output: made.file(name), backing: 'chain' });
  await expect(chain('top.qcow2')).rejects.toMatchObject({ code: 'EXISTS' });
  expect(filesOf(made)).toEqual(before);
  const loose = made.store.objects.loose.path(await blobOf(made));
  await chmod(loose, 0o644);
  await writeFile(loose, 'damaged');
  await expect(chain('other.qcow2')).rejects.toMatchObject({ code: 'DAMAGED' });
  expect(filesOf(made)).toEqual(before);
});

test('checkoutVersion makes a base file again that another one stands on', async () => {
  const made = await newStore();
  const ids: string[] = [];
  for (const seed of [2, 3, 4]) ids.push((await commitBytes(made, 'web', diskOf([1, seed]))).commit);
  const chain = (name: string) =>
    checkoutVersion(made.store, { revision: 'web', output: made.file(name), backing: 'chain' });
  await chain('top.qcow2');
  const lowest = made.file(`base-${ids[0]!.slice(0, 12)}-vda.qcow2`);
  await rm(lowest);
  await chain('other.qcow2');
  expect((await qemuBytes(made.file('other.qcow2'))).equals(diskOf([1, 4]))).toBe(true);
  expect((await qemuBytes(lowest)).equals(diskOf([1, 2]))).toBe(true);
});

test('checkoutVersion takes the base files that another checkout makes at the same time', async () => {
  const made = await twoVersions();
  const outputs = ['a.qcow2', 'b.qcow2', 'c.qcow2'].map((name) => made.file(name));
  await Promise.all(
    outputs.map((output) => checkoutVersion(made.store, { revision: 'web', output, backing: 'chain' })),
  );
  for (const output of outputs) expect((await qemuBytes(output)).equals(NEW)).toBe(true);
  expect(Object.keys(filesOf(made)).sort()).toEqual(
    ['a.qcow2', 'b.qcow2', 'c.qcow2', made.base, 'web.raw'].sort(),
  );
});

test('checkoutVersion throws USAGE for an output among the files of the store', async () => {
  const made = await twoVersions();
  symlinkSync('.imgstore', made.file('link'));
  const before = readFileSync(made.file('.imgstore/config'), 'utf8');
  for (const output of ['.imgstore/config', 'link/config', '.imgstore/objects/new.raw'])
    await expect(
      checkoutVersion(made.store, { revision: 'web', output: made.file(output), force: true }),
    ).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining("store's own folder") });
  expect(readFileSync(made.file('.imgstore/config'), 'utf8')).toBe(before);
});

/** The id of a cluster that only the newer version has. */
function blobOf({ path }: TestStore): Promise<string> {
  return git(path, 'rev-parse', 'web:disks/vda/02');
}
