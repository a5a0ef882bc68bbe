import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gunzipSync, gzipSync } from 'node:zlib';
import { type BlockSource, checkRange, type Extent } from '../../../block/index.ts';
import { ImgstoreError } from '../../../errors/index.ts';
import { checkSource } from '../../../qcow2/check/check.ts';
import { KeyWork } from '../../../qcow2/crypto/key-work.ts';
import { Qcow2Image } from '../../../qcow2/index.ts';
import { surroundings } from './seeds.ts';

const NAME = 'fuzz.qcow2';
const MAX_CPU_SECONDS = 5;
const MAX_GROWTH_BYTES = 300 * 1024 * 1024;
/** Reads of the file in one case. */
const MAX_STEPS = 2_000_000;
/** What keys may cost: a hostile image that asks for more is refused before it is done. */
const KEY_SECONDS = 0.2;
const READ_BYTES = 64 * 1024;
const MAX_ITEMS = 5000;
const MAX_SNAPSHOTS_OPENED = 3;
/** Memory is looked at each time that so many reads are done. */
const STEPS_PER_LOOK = 64;

/** Something that must not come of any image. */
class Finding extends Error {}

/** Frees what is not used, so that the rest can be measured. */
const collectGarbage = (() => {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
})();

const heldBytes = () => {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};
let startBytes: number | undefined;

function lookAtMemory(): void {
  if (startBytes === undefined) {
    collectGarbage();
    startBytes = heldBytes();
  }
  if (heldBytes() - startBytes <= MAX_GROWTH_BYTES) return;
  collectGarbage();
  const growth = heldBytes() - startBytes;
  if (growth > MAX_GROWTH_BYTES) throw new Finding(`memory grew by ${growth} bytes`);
}

/** A file in memory that counts what is asked of it. */
class CountedSource implements BlockSource {
  readonly size: number;
  readonly #bytes: Buffer;
  #steps = 0;
  #lookedBytes = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.size = bytes.length;
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    checkRange(this.size, offset, length);
    if (length > 0) yield { offset, length, kind: 'data' };
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    this.#steps++;
    this.#lookedBytes += into.length;
    if (this.#steps % STEPS_PER_LOOK === 0 || this.#lookedBytes > 2 ** 22) {
      lookAtMemory();
      this.#lookedBytes = 0;
    }
    if (this.#steps > MAX_STEPS) throw new Finding(`more than ${MAX_STEPS} reads`);
    into.set(this.#bytes.subarray(offset, offset + into.length));
  }

  async close(): Promise<void> {}
}

/** How a case ended: what went wrong, or how many of its parts gave bytes. */
export interface Outcome {
  readonly finding: string | undefined;
  readonly read: number;
}

/** Does with an image all that can be done: each part by itself, whatever came of those before. */
export async function runCase(bytes: Buffer): Promise<Outcome> {
  const before = process.cpuUsage();
  let read = 0;
  try {
    const host = new CountedSource(bytes);
    const parts = () => ({ ...surroundings(), name: NAME, keyWork: new KeyWork(KEY_SECONDS) });
    const image = await attempt(() => Qcow2Image.open(host, parts()));
    if (image !== undefined) {
      read++;
      const hasBelow = image.header.dataFile !== undefined || image.header.encryption !== undefined;
      read += await readDisk(image, !hasBelow);
      for (const { id } of ((await attempt(() => image.snapshots())) ?? []).slice(0, MAX_SNAPSHOTS_OPENED)) {
        const former = await attempt(() => Qcow2Image.open(host, { ...parts(), snapshot: id }));
        if (former === undefined) continue;
        read += await readDisk(former, !hasBelow);
        const state = former.vmState();
        if (state !== undefined) read += await readDisk(state, false);
      }
      for (const bitmap of ((await attempt(() => image.bitmaps())) ?? []).slice(0, MAX_ITEMS)) {
        const done = await attempt(() => walkRanges(bitmap.dirty(), image.header.virtualSize));
        if (done !== undefined) read++;
      }
    }
    if ((await attempt(() => checkSource(host, NAME))) !== undefined) read++;
    lookAtMemory();
  } catch (error) {
    return { finding: error instanceof Error ? `${error.name}: ${error.stack}` : String(error), read };
  }
  const { user, system } = process.cpuUsage(before);
  const seconds = (user + system) / 1e6;
  return {
    finding: seconds > MAX_CPU_SECONDS ? `took ${seconds.toFixed(1)} s of the processor` : undefined,
    read,
  };
}

/** What `work` gives, undefined when it fails as it may; all other failures are thrown. */
async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ImgstoreError)) throw error;
    if (!['BAD_IMAGE', 'UNSUPPORTED', 'WRONG_KEY', 'NOT_FOUND'].includes(error.code)) throw error;
    if (!error.message.startsWith(`${NAME}: `) || error.message.includes('\n')) throw error;
    return undefined;
  }
}

/** Reads both ends of a disk and what its extents begin with. */
async function readDisk(disk: BlockSource, zerosAreZeros: boolean): Promise<number> {
  const length = Math.min(READ_BYTES, disk.size);
  let read = 0;
  for (const offset of [0, disk.size - length]) {
    const into = Buffer.alloc(length);
    if ((await attempt(async () => disk.read(offset, into).then(() => true))) !== undefined) read++;
  }
  const first = new Map<Extent['kind'], Extent>();
  await attempt(async () => {
    let at = 0;
    let count = 0;
    for await (const extent of disk.extents(0, disk.size)) {
      if (extent.offset !== at || extent.length <= 0)
        throw new Finding(`extent ${JSON.stringify(extent)} at ${at}`);
      at += extent.length;
      if (!first.has(extent.kind)) first.set(extent.kind, extent);
      if (++count === MAX_ITEMS) return;
    }
    if (at !== disk.size) throw new Finding(`extents end at ${at} of ${disk.size}`);
  });
  for (const { offset, length, kind } of first.values()) {
    const into = Buffer.alloc(Math.min(length, READ_BYTES), 0xee);
    const done = await attempt(async () => disk.read(offset, into).then(() => true));
    if (done === undefined) continue;
    read++;
    if (kind === 'zero' && zerosAreZeros && into.some((byte) => byte !== 0)) {
      throw new Finding(`zeros at ${offset} read as something else`);
    }
  }
  return read;
}

async function walkRanges(
  ranges: AsyncIterable<{ readonly offset: number; readonly length: number }>,
  size: number,
): Promise<true> {
  let end = -1;
  let count = 0;
  for await (const { offset, length } of ranges) {
    if (offset <= end || length <= 0 || offset + length > size) {
      throw new Finding(`dirty range ${offset}+${length} behind ${end} on a disk of ${size}`);
    }
    end = offset + length;
    if (++count === MAX_ITEMS) break;
  }
  return true;
}

/** An image as text, for a regression file. */
export function packCase(bytes: Buffer): string {
  return `${gzipSync(bytes, { level: 9 })
    .toString('base64')
    .replace(/.{1,100}/g, '$&\n')}`;
}

/** The image of a regression file. */
export function unpackCase(text: string): Buffer {
  return gunzipSync(Buffer.from(text, 'base64'));
}
