import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { openImage } from '../../../qcow2/index.ts';
import { INCOMPATIBLE_AT, SNAPSHOTS_OFFSET_AT } from '../../../qcow2/meta/layout.ts';
import { qemuBytes, qemuImg, qemuIo, readAll, tempFolder } from '../qemu.ts';

const file = tempFolder();

/** The facts of an image that must read as QEMU reads it. */
async function factsAsQemu(path: string) {
  const opened = await openImage(path);
  try {
    expect((await readAll(opened.source)).equals(await qemuBytes(path))).toBe(true);
    return opened.facts.qcow2;
  } finally {
    await opened.source.close();
  }
}

describe('an image that its last writer left marked', () => {
  it.each([
    [1n, { dirty: true, corrupt: false }],
    [2n, { dirty: false, corrupt: true }],
    [3n, { dirty: true, corrupt: true }],
  ])('is read like any other: bits %i', async (bits, marks) => {
    const path = file(`marked-${bits}.qcow2`);
    await qemuImg('create', '-q', '-f', 'qcow2', '-o', 'lazy_refcounts=on', path, '1M');
    await qemuIo(path, 'write -P 1 0 100k', 'write -c -P 2 256k 64k');
    const bytes = await readFile(path);
    bytes.writeBigUInt64BE(bits, INCOMPATIBLE_AT);
    await writeFile(path, bytes);
    expect(await factsAsQemu(path)).toMatchObject({ lazyRefcounts: true, ...marks });
  });
});

describe('an image', () => {
  it.each([1, 2, 4, 8, 16, 32, 64])('is read with refcounts of %i bits', async (bits) => {
    const path = file(`refcounts-${bits}.qcow2`);
    await qemuImg('create', '-q', '-f', 'qcow2', '-o', `refcount_bits=${bits}`, path, '1M');
    await qemuIo(path, 'write -P 1 0 100k', 'write -P 2 256k 64k');
    expect(await factsAsQemu(path)).toMatchObject({ refcountBits: bits });
  });

  it('is read at its present state though its snapshot table is damaged', async () => {
    const path = file('damaged-table.qcow2');
    await qemuImg('create', '-q', '-f', 'qcow2', path, '1M');
    await qemuIo(path, 'write -P 1 0 100k');
    const expected = await qemuBytes(path);
    await qemuImg('snapshot', '-c', 'one', path);
    const bytes = await readFile(path);
    bytes.fill(0xff, Number(bytes.readBigUInt64BE(SNAPSHOTS_OFFSET_AT)));
    await writeFile(path, bytes);
    const opened = await openImage(path);
    expect((await readAll(opened.source)).equals(expected)).toBe(true);
    await expect(opened.image?.snapshots()).rejects.toMatchObject({ code: 'BAD_IMAGE' });
    await opened.source.close();
  });
});
