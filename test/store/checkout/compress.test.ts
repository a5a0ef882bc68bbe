import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { objectId } from '../../../objects/index.ts';
import { openImage } from '../../../qcow2/index.ts';
import { checkoutVersion, commitVersion, initStore, type Store } from '../../../store/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { noise, qemuBytes, qemuCheck, qemuImg, qemuIo, readAll } from '../../qcow2/qemu.ts';

const CLUSTER = 4096;
const TYPES = ['zlib', 'zstd'] as const;

// Commits need a person, whatever the machine knows.
process.env.GIT_AUTHOR_NAME ??= 'An Author';
process.env.GIT_AUTHOR_EMAIL ??= 'author@example.org';
process.env.GIT_COMMITTER_NAME ??= 'A Committer';
process.env.GIT_COMMITTER_EMAIL ??= 'committer@example.org';

interface Place {
  readonly store: Store;
  readonly file: (name: string) => string;
}

async function newStore(clusterSize = CLUSTER): Promise<Place> {
  const folder = await temporaryFolder();
  const store = await initStore(folder, { clusterSize });
  onTestFinished(() => store.close());
  return { store, file: (name) => join(folder, name) };
}

async function commit({ store, file }: Place, bytes: Uint8Array): Promise<void> {
  await writeFile(file('disk.raw'), bytes);
  await commitVersion(store, { disks: [{ name: 'vda', path: file('disk.raw') }], branch: 'disk' });
}

/** A disk of clusters that are zeros (0), text (odd) or noise (even), with `cut` bytes missing at the end. */
function diskOf(plan: readonly number[], clusterSize = CLUSTER, cut = 0): Buffer {
  const bytes = Buffer.alloc(plan.length * clusterSize);
  plan.forEach((seed, i) => {
    const cluster = bytes.subarray(i * clusterSize, (i + 1) * clusterSize);
    if (seed % 2 === 1) cluster.fill(`text of cluster number ${seed}, `);
    else if (seed > 0) noise(clusterSize, seed).copy(cluster);
  });
  return bytes.subarray(0, bytes.length - cut);
}

async function expectDisk(path: string, bytes: Buffer): Promise<void> {
  await qemuCheck(path);
  expect((await qemuBytes(path)).equals(bytes)).toBe(true);
  const { source } = await openImage(path);
  expect((await readAll(source)).equals(bytes)).toBe(true);
  await source.close();
}

const PLAN = [1, 2, 0, 3, 3, 4, 0, 5, 7, 9, 0, 0, 6, 11];

describe('checkout --compress', () => {
  it.each(TYPES)('%s writes an image with the same bytes, smaller, that QEMU writes on', async (compress) => {
    const place = await newStore();
    const bytes = diskOf(PLAN, CLUSTER, 1024);
    await commit(place, bytes);
    const [plain, path] = [place.file('plain.qcow2'), place.file('out.qcow2')];
    const {
      seconds: _a,
      file: _b,
      ...before
    } = await checkoutVersion(place.store, { revision: 'disk', output: plain });
    const {
      seconds: _c,
      file: _d,
      ...result
    } = await checkoutVersion(place.store, {
      revision: 'disk',
      output: path,
      compress,
    });
    expect(result).toEqual(before);
    await expectDisk(path, bytes);
    expect((await stat(path)).size).toBeLessThan((await stat(plain)).size);
    const info = JSON.parse(await qemuImg('info', '--output=json', path));
    expect(info['format-specific'].data['compression-type']).toBe(compress);
    expect(JSON.parse(await qemuImg('check', '--output=json', path))['compressed-clusters']).toBe(7);
    await qemuIo(path, `write -P 1 0 ${3 * CLUSTER}`);
    await qemuCheck(path);
  });

  it.each(TYPES)('%s does so in worker threads, in bounded memory', async (compress) => {
    const place = await newStore(65536);
    const plan = Array.from({ length: 1600 }, (_, i) => (i % 9 === 8 ? 0 : i));
    const bytes = diskOf(plan, 65536, 512);
    await commit(place, bytes);
    const path = place.file('out.qcow2');
    const before = process.memoryUsage().rss;
    await checkoutVersion(place.store, { revision: 'disk', output: path, compress });
    expect(process.memoryUsage().rss - before).toBeLessThan(250 * 2 ** 20);
    await qemuCheck(path);
    await writeFile(place.file('model.raw'), bytes);
    await qemuImg('compare', '-f', 'qcow2', '-F', 'raw', path, place.file('model.raw'));
  });

  it('reads as it was stored, whatever the disk', async () => {
    const place = await newStore();
    let number = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 60 }),
        fc.integer({ min: 0, max: 7 }),
        fc.constantFrom(...TYPES),
        async (plan, cut, compress) => {
          const bytes = diskOf(plan, CLUSTER, plan.length === 0 ? 0 : cut * 512);
          await commit(place, bytes);
          const output = place.file(`out${number++}.qcow2`);
          await checkoutVersion(place.store, { revision: 'disk', output, compress });
          const { source } = await openImage(output);
          expect((await readAll(source)).equals(bytes)).toBe(true);
          await source.close();
        },
      ),
      { numRuns: 25 },
    );
  });

  it('writes overlays with zeros over their base, and chains of compressed files', async () => {
    const place = await newStore();
    const first = diskOf(PLAN);
    const second = diskOf([1, 13, 0, 0, 3, 15, 17, 5, 0, 9, 0, 8, 6, 11]);
    await commit(place, first);
    const base = place.file('base.qcow2');
    await checkoutVersion(place.store, { revision: 'disk', output: base, compress: 'zlib' });
    await commit(place, second);
    const over = place.file('over.qcow2');
    const options = { revision: 'disk', compress: 'zstd' } as const;
    const result = await checkoutVersion(place.store, { ...options, output: over, backing: { file: base } });
    expect(result).toMatchObject({ backing: 'base.qcow2', writtenBytes: 4 * CLUSTER });
    await expectDisk(over, second);
    const top = place.file('top.qcow2');
    const chained = await checkoutVersion(place.store, { ...options, output: top, backing: 'chain' });
    await expectDisk(top, second);
    await expectDisk(place.file(chained.backing!), first);
  });

  it('leaves no file behind when a cluster is damaged or the user stops it', async () => {
    const place = await newStore();
    const bytes = diskOf(PLAN);
    await commit(place, bytes);
    const request = { revision: 'disk', output: place.file('out.qcow2'), compress: 'zlib' } as const;
    const stop = new AbortController();
    stop.abort();
    await expect(checkoutVersion(place.store, request, { signal: stop.signal })).rejects.toMatchObject({
      code: 'INTERRUPTED',
    });
    const id = objectId('blob', bytes.subarray(5 * CLUSTER, 6 * CLUSTER));
    const loose = place.file(`.imgstore/objects/${id.slice(0, 2)}/${id.slice(2)}`);
    await rm(loose);
    await writeFile(loose, deflateSync(`blob ${CLUSTER}\0${'x'.repeat(CLUSTER)}`));
    await expect(checkoutVersion(place.store, request)).rejects.toMatchObject({ code: 'DAMAGED' });
    const left = await readdir(place.file('.'));
    expect(left.filter((name) => name.includes('out.qcow2'))).toEqual([]);
  });

  it('refuses raw files', async () => {
    const place = await newStore();
    await commit(place, diskOf(PLAN));
    const output = place.file('out.raw');
    await expect(
      checkoutVersion(place.store, { revision: 'disk', output, compress: 'zlib' }),
    ).rejects.toMatchObject({ code: 'USAGE' });
  });
});
