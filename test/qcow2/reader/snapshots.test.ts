import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { MemorySource } from '../../../block/index.ts';
import { ImgstoreError } from '../../../errors/index.ts';
import { describeImage, openImage, Qcow2Image } from '../../../qcow2/index.ts';
import * as layout from '../../../qcow2/meta/layout.ts';
import { extentsOf, noise, qemuBytes, qemuImg, qemuIo, readAll, tempFolder } from '../qemu.ts';

const file = tempFolder();
const run = promisify(execFile);

/** The bytes that QEMU sees in a snapshot. */
async function snapshotBytes(image: string, snapshot: string): Promise<Buffer> {
  const raw = `${image}.as-raw`;
  await qemuImg('convert', '-f', 'qcow2', '-O', 'raw', '-l', snapshot, image, raw);
  const bytes = await readFile(raw);
  await rm(raw);
  return bytes;
}

async function opened<T>(
  image: string,
  snapshot: string | undefined,
  use: (image: Qcow2Image) => Promise<T>,
): Promise<T> {
  const { source, image: top } = await openImage(image, { snapshot });
  try {
    expect(top).toBe(source);
    return await use(top!);
  } finally {
    await source.close();
  }
}

describe('an internal snapshot', () => {
  it.each([
    ['version 3', ['cluster_size=4k']],
    ['version 2', ['compat=0.10', 'cluster_size=4k']],
    ['small clusters', ['cluster_size=512']],
    ['extended L2 entries', ['extended_l2=on', 'cluster_size=16k']],
    ['64-bit refcounts', ['refcount_bits=64']],
    ['8-bit refcounts', ['refcount_bits=8']],
  ])('reads as QEMU reads it: %s', async (name, options) => {
    const image = file(`${name}.qcow2`);
    await writeFile(file('base.raw'), noise(700_000, 4));
    await qemuImg(
      ...['create', '-q', '-f', 'qcow2', '-o', options.join(',')],
      ...['-b', 'base.raw', '-F', 'raw', image, '1M'],
    );
    await qemuIo(image, 'write -P 1 0 100k', 'write -c -P 2 256k 64k');
    await qemuImg('snapshot', '-c', 'first', image);
    await qemuIo(image, 'write -P 3 50k 100k', 'write -z 256k 32k');
    await qemuImg('snapshot', '-c', 'zweiter ✓', image);
    await qemuIo(image, 'write -P 4 0 1M');
    const active = await qemuBytes(image);
    for (const wanted of [undefined, '1', 'first', '2', 'zweiter ✓']) {
      const expected = wanted === undefined ? active : await snapshotBytes(image, wanted);
      await opened(image, wanted, async (source) => {
        expect((await readAll(source, 100_003)).equals(expected)).toBe(true);
        await extentsOf(source);
        expect(source.vmState()).toBeUndefined();
        expect((await source.snapshots()).map(({ id }) => id)).toEqual(['1', '2']);
      });
    }
    const [first, second] = (await describeImage(image)).qcow2!.snapshotList;
    const [theirs] = JSON.parse(await qemuImg('info', '--output=json', image)).snapshots;
    expect(first).toEqual({
      id: '1',
      name: 'first',
      date: new Date(theirs['date-sec'] * 1000 + Math.floor(theirs['date-nsec'] / 1e6)).toISOString(),
      vmStateSize: 0,
      diskSize: 2 ** 20,
    });
    expect(second?.name).toBe('zweiter ✓');
  });

  it('has the size that the disk had then', async () => {
    const image = file('resized.qcow2');
    await qemuImg('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', image, '1M');
    await qemuIo(image, 'write -P 1 0 1M');
    await qemuImg('snapshot', '-c', 'small', image);
    await qemuImg('resize', '-q', image, '5M');
    await qemuIo(image, 'write -P 2 0 5M');
    await opened(image, 'small', async (source) => {
      expect(source.size).toBe(2 ** 20);
      expect((await readAll(source)).equals(Buffer.alloc(2 ** 20, 1))).toBe(true);
    });
    expect((await describeImage(image)).qcow2?.snapshotList[0]?.diskSize).toBe(2 ** 20);
  });

  it('is not there by any other name', async () => {
    const image = file('other.qcow2');
    await qemuImg('create', '-q', '-f', 'qcow2', image, '1M');
    await qemuImg('snapshot', '-c', 'one', image);
    await expect(openImage(image, { snapshot: 'two' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `${image}: has no internal snapshot "two"`,
    });
  });

  it('is listed with all others when the table is long', async () => {
    const image = file('many.qcow2');
    await qemuImg('create', '-q', '-f', 'qcow2', image, '1M');
    await qemuImg('snapshot', '-c', 'x'.repeat(200), image);
    const bytes = await readFile(image);
    const tableAt = Number(bytes.readBigUInt64BE(layout.SNAPSHOTS_OFFSET_AT));
    const length = Math.ceil((40 + bytes.readUInt32BE(tableAt + 36) + 1 + 200) / 8) * 8;
    // The file may end within the padding.
    const one = Buffer.alloc(length);
    bytes.copy(one, 0, tableAt);
    const count = 5000;
    bytes.writeUInt32BE(count, layout.SNAPSHOT_COUNT_AT);
    bytes.writeBigUInt64BE(BigInt(Math.ceil(bytes.length / 65536) * 65536), layout.SNAPSHOTS_OFFSET_AT);
    const padding = Buffer.alloc((65536 - (bytes.length % 65536)) % 65536);
    const table = Buffer.concat(Array<Buffer>(count).fill(one));
    const source = await Qcow2Image.open(new MemorySource(Buffer.concat([bytes, padding, table])), {
      name: 'x',
    });
    const list = await source.snapshots();
    expect(list.length).toBe(count);
    expect(list.every(({ name }) => name === 'x'.repeat(200))).toBe(true);
    const cut = new MemorySource(Buffer.concat([bytes, padding, table.subarray(0, -8)]));
    await expect((await Qcow2Image.open(cut, { name: 'x' })).snapshots()).rejects.toThrow('entry 4999');
  });

  it('has the VM state that lies behind its disk', async () => {
    const image = file('vm-state.qcow2');
    const span = 4096 * 512;
    await qemuImg('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', image, String(2 * span));
    await qemuIo(image, 'write -P 1 0 64k', `write -P 9 ${span} 100k`, `write -P 8 ${span + 200 * 1024} 4k`);
    await qemuImg('snapshot', '-c', 'one', image);
    // As a VM would have left it: a disk of half the size, and what is behind it is its state.
    const bytes = await readFile(image);
    const tableAt = Number(bytes.readBigUInt64BE(layout.SNAPSHOTS_OFFSET_AT));
    const disk = span - 1024;
    const state = 204 * 1024 - 5;
    bytes.writeBigUInt64BE(BigInt(state), tableAt + 40);
    bytes.writeBigUInt64BE(BigInt(disk), tableAt + 48);
    await writeFile(image, bytes);
    const expected = (await qemuBytes(image)).subarray(span, span + state);
    await opened(image, 'one', async (source) => {
      expect(source.size).toBe(disk);
      const vmState = source.vmState()!;
      expect(vmState.size).toBe(state);
      expect((await readAll(vmState, 10_007)).equals(expected)).toBe(true);
      expect((await extentsOf(vmState)).map(({ kind }) => kind)).toEqual(['data', 'hole', 'data']);
      await expect(vmState.read(state, Buffer.alloc(1))).rejects.toMatchObject({ code: 'USAGE' });
      await vmState.close();
      await source.read(0, Buffer.alloc(10));
    });
    expect((await describeImage(image)).qcow2?.snapshotList[0]).toMatchObject({
      vmStateSize: state,
      diskSize: disk,
    });
  });

  it('has the VM state that a VM has saved', async ({ skip }) => {
    const image = file('savevm.qcow2');
    await qemuImg('create', '-q', '-f', 'qcow2', image, '10M');
    const machine = [
      '-accel',
      'tcg',
      '-m',
      '16',
      '-S',
      '-display',
      'none',
      '-nodefaults',
      '-monitor',
      'stdio',
    ];
    const child = run('qemu-system-x86_64', [...machine, '-drive', `file=${image},if=virtio`]);
    child.child.stdin?.on('error', () => {});
    child.child.stdin?.end('savevm saved\nquit\n');
    try {
      await child;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') skip('qemu-system-x86_64 is not installed');
      throw error;
    }
    await opened(image, 'saved', async (source) => {
      const bytes = await readAll(source.vmState()!);
      // QEMU's migration stream: it begins with its magic and ends with a description of itself.
      expect(bytes.toString('latin1', 0, 4)).toBe('QEVM');
      expect(bytes.toString('latin1', bytes.length - 200)).toMatch(/"globalstate".*\}\]\}$/);
    });
  });
});

describe('a hostile snapshot table', () => {
  let image: Buffer;
  let tableAt: number;
  beforeAll(async () => {
    const path = file('hostile-base.qcow2');
    await qemuImg('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', path, '256k');
    await qemuIo(path, 'write -P 1 0 64k');
    await qemuImg('snapshot', '-c', 'one', path);
    await qemuIo(path, 'write -P 2 0 256k');
    await qemuImg('snapshot', '-c', 'two', path);
    image = await readFile(path);
    tableAt = Number(image.readBigUInt64BE(layout.SNAPSHOTS_OFFSET_AT));
  });

  /** Opens snapshot 1 of a changed image and reads all of it: bytes, or the one error. */
  async function outcome(
    change: (bytes: Buffer) => void,
    cut = image.length,
  ): Promise<Buffer | ImgstoreError> {
    const bytes = Buffer.from(image.subarray(0, cut));
    change(bytes);
    const start = performance.now();
    try {
      const source = await Qcow2Image.open(new MemorySource(bytes), { name: 'x.qcow2', snapshot: '1' });
      const state = source.vmState();
      if (state !== undefined && state.size < 2 ** 26) await readAll(state);
      if (source.size > 2 ** 26) return Buffer.alloc(0);
      await extentsOf(source);
      return await readAll(source);
    } catch (error) {
      expect(error).toBeInstanceOf(ImgstoreError);
      expect((error as ImgstoreError).message).toMatch(/^x\.qcow2: [^\n]+$/);
      return error as ImgstoreError;
    } finally {
      expect(performance.now() - start).toBeLessThan(5000);
    }
  }

  it('gives an error or bytes when any field of an entry is any bound', async () => {
    const good = await outcome(() => {});
    expect(good).toBeInstanceOf(Buffer);
    const size = BigInt(image.length);
    const l1 = image.readBigUInt64BE(layout.L1_OFFSET_AT);
    const values = [0n, 1n, 8n, 512n, 4096n, 4097n, l1, BigInt(tableAt), size, size + 4096n, 2n ** 16n - 1n];
    values.push(
      2n ** 31n,
      2n ** 32n - 1n,
      2n ** 53n - 1n,
      2n ** 53n,
      2n ** 63n,
      2n ** 64n - 4096n,
      2n ** 64n - 1n,
    );
    for (const [at, width] of [
      [0, 8],
      [8, 4],
      [12, 2],
      [14, 2],
      [16, 4],
      [20, 4],
      [24, 8],
      [32, 4],
      [36, 4],
      [40, 8],
      [48, 8],
      [56, 8],
    ] as const) {
      for (const value of values) {
        if (value >= 2n ** BigInt(width * 8)) continue;
        await outcome((bytes) => {
          if (width === 8) bytes.writeBigUInt64BE(value, tableAt + at);
          else bytes.writeUIntBE(Number(value), tableAt + at, width);
        });
      }
    }
  });

  it('gives an error when it points anywhere else or is cut off', async () => {
    for (const offset of [0n, 4096n, BigInt(image.length & ~4095) + 4096n, 2n ** 53n - 4096n]) {
      expect(
        await outcome((bytes) => bytes.writeBigUInt64BE(offset, layout.SNAPSHOTS_OFFSET_AT)),
      ).toBeInstanceOf(ImgstoreError);
    }
    for (const count of [3, 1000, 65536]) {
      const failed = await outcome((bytes) => bytes.writeUInt32BE(count, layout.SNAPSHOT_COUNT_AT));
      // What is behind the table is zeros, which make entries without a name, to the end of the file.
      if (failed instanceof ImgstoreError) expect(failed.message).toContain('snapshot');
    }
    for (const cut of [tableAt, tableAt + 1, tableAt + 39, tableAt + 56]) {
      expect(await outcome(() => {}, cut)).toBeInstanceOf(ImgstoreError);
    }
  });

  it('gives one error or bytes when it changes at random', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: 150 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 3 }),
        async (changes) => {
          await outcome((bytes) => {
            for (const [at, value] of changes) bytes[tableAt + at] = value;
          });
        },
      ),
      { numRuns: 400 },
    );
  });
});
