import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll } from 'vitest';
import type { BlockSource, Extent } from '../../block/index.ts';

const run = promisify(execFile);

/** Where QEMU runs: it looks for relative data files in its working directory. */
let folder = tmpdir();

/** Runs qemu-img and returns what it prints; fails as it fails. */
export async function qemuImg(...args: readonly string[]): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await run('qemu-img', args, { maxBuffer: 2 ** 26, cwd: folder })).stdout;
    } catch (error) {
      if (attempt === MOST_ATTEMPTS || !BUSY_MACHINE.test(String(error))) throw error;
    }
  }
}

/** QEMU times its own PBKDF2 when it makes a LUKS header, and gives up when another program takes the processor meanwhile (crypto/pbkdf.c). */
const BUSY_MACHINE = /Unable to get accurate CPU usage/;
const MOST_ATTEMPTS = 20;

/** Runs commands of qemu-io on a qcow2 image. */
export async function qemuIo(image: string, ...commands: readonly string[]): Promise<void> {
  const list = commands.flatMap((command) => ['-c', command]);
  // Its exit code is 0 even when a write fails, but then it prints so.
  const { stdout, stderr } = await run('qemu-io', [...list, '-f', 'qcow2', image], { cwd: folder });
  if (/failed|error/i.test(stdout + stderr)) throw new Error(stdout + stderr);
}

/** Makes an empty qcow2 that stands on a file. @param options `size` of its disk, as qemu-img takes it, that of the file below when not given; `clusterSize` in bytes */
export async function createOverlay(
  image: string,
  below: string,
  format: 'qcow2' | 'raw' = 'qcow2',
  { size, clusterSize }: { readonly size?: string; readonly clusterSize?: number } = {},
): Promise<void> {
  const option = clusterSize === undefined ? [] : ['-o', `cluster_size=${clusterSize}`];
  const backing = ['-b', below, '-F', format];
  await qemuImg(
    'create',
    '-q',
    '-f',
    'qcow2',
    ...option,
    ...backing,
    image,
    ...(size === undefined ? [] : [size]),
  );
}

/** The bytes that QEMU sees in an image. */
export async function qemuBytes(image: string, format = 'qcow2'): Promise<Buffer> {
  const raw = `${image}.as-raw`;
  await qemuImg('convert', '-f', format, '-O', 'raw', image, raw);
  const bytes = await readFile(raw);
  await rm(raw);
  return bytes;
}

/** Fails unless `qemu-img check` finds neither errors nor leaks. */
export async function qemuCheck(image: string): Promise<void> {
  const found = JSON.parse(await qemuImg('check', '--output=json', '-f', 'qcow2', image));
  const bad = ['check-errors', 'corruptions', 'leaks'].filter((key) => (found[key] ?? 0) !== 0);
  if (bad.length > 0) throw new Error(JSON.stringify(found));
}

/** A folder for the tests of one file, gone afterwards. */
export function tempFolder(): (name: string) => string {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'imgstore-qcow2-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });
  return (name) => join(folder, name);
}

/** All bytes of a disk, read in steps that no cluster size divides. */
export async function readAll(source: BlockSource, step = 1_000_003): Promise<Buffer> {
  const bytes = Buffer.alloc(source.size, 0xee);
  for (let at = 0; at < bytes.length; at += step) {
    await source.read(at, bytes.subarray(at, Math.min(at + step, bytes.length)));
  }
  return bytes;
}

/** All extents in a range, which must be in order and without gaps. */
export async function extentsOf(
  source: BlockSource,
  offset = 0,
  length = source.size - offset,
): Promise<Extent[]> {
  const extents: Extent[] = [];
  let at = offset;
  for await (const extent of source.extents(offset, length)) {
    if (extent.offset !== at || extent.length <= 0)
      throw new Error(`extent ${JSON.stringify(extent)} at ${at}`);
    at += extent.length;
    extents.push(extent);
  }
  if (at !== offset + length) throw new Error(`extents end at ${at}`);
  return extents;
}

/** Bytes that look random, the same every time for a seed. */
export function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
