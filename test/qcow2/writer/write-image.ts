import { open } from 'node:fs/promises';
import { expect } from 'vitest';
import type { WriteTarget } from '../../../block/index.ts';
import { loadCompressor, Qcow2Writer, type Qcow2WriterOptions } from '../../../qcow2/index.ts';
import { noise } from '../qemu.ts';

/** Writes an image file; `fill` allocates and writes its clusters. Returns the file's size. */
export async function writeImage(
  path: string,
  options: Qcow2WriterOptions,
  fill: (writer: Qcow2Writer, target: WriteTarget) => Promise<void> = async () => {},
): Promise<number> {
  const handle = await open(path, 'w+');
  try {
    const target: WriteTarget = {
      write: async (offset, bytes) => {
        await handle.write(bytes, 0, bytes.length, offset);
      },
    };
    const writer = new Qcow2Writer(target, options);
    await fill(writer, target);
    const size = await writer.finish();
    expect((await handle.stat()).size).toBe(size);
    return size;
  } finally {
    await handle.close();
  }
}

/** A disk that is written cluster by cluster, with a model of the bytes that a guest must see. */
export class Draft {
  /** All clusters in full length. */
  readonly bytes: Buffer;
  readonly clusters: number;
  readonly #writer: Qcow2Writer;
  readonly #target: WriteTarget;
  readonly #options: Qcow2WriterOptions;

  readonly #size: number;

  /** @param below what unallocated clusters read as. @param size of the disk, if it is not the active one. */
  constructor(
    writer: Qcow2Writer,
    target: WriteTarget,
    options: Qcow2WriterOptions,
    below?: Buffer,
    size = writer.virtualSize,
  ) {
    this.#writer = writer;
    this.#target = target;
    this.#options = options;
    this.#size = size;
    this.clusters = Math.ceil(size / writer.clusterSize);
    this.bytes = Buffer.alloc(this.clusters * writer.clusterSize);
    below?.copy(this.bytes);
  }

  /** What a guest sees. */
  get disk(): Buffer {
    return this.bytes.subarray(0, this.#size);
  }

  range(cluster: number, count = 1): Buffer {
    const { clusterSize } = this.#writer;
    return this.bytes.subarray(cluster * clusterSize, (cluster + count) * clusterSize);
  }

  async data(cluster: number, seed: number): Promise<number> {
    noise(this.#writer.clusterSize, seed).copy(this.range(cluster));
    const offset = await this.#writer.allocate(cluster);
    await this.#target.write(offset, this.range(cluster));
    return offset;
  }

  /**
   * A cluster that begins with as much noise as asked for.
   * @returns its place, and the length of its stream; undefined for one that does not compress and is written plain.
   */
  async compressed(
    cluster: number,
    seed: number,
    noisy = 0.4,
  ): Promise<{ readonly offset: number; readonly length: number | undefined }> {
    const bytes = this.range(cluster).fill(seed % 256);
    noise(Math.floor(bytes.length * noisy), seed).copy(bytes);
    const type = this.#options.compressionType ?? 'zlib';
    const stream = (await loadCompressor(type))(bytes, type === 'zlib' ? 6 : 3);
    const offset =
      stream === undefined
        ? await this.#writer.allocate(cluster)
        : await this.#writer.placeCompressed(cluster, stream.length);
    await this.#target.write(offset, stream ?? bytes);
    return { offset, length: stream?.length };
  }

  async zero(cluster: number, count: number, preallocate = false): Promise<void> {
    this.range(cluster, count).fill(0);
    await this.#writer.zero(cluster, count, { preallocate });
  }

  /** Subclusters of noise where `data` has a bit, of zeros where `zero` has one. */
  async subclusters(cluster: number, seed: number, data: number, zero: number): Promise<void> {
    const unit = this.#writer.clusterSize / 32;
    const offset = await this.#writer.allocateSubclusters(cluster, { data, zero });
    for (let i = 0; i < 32; i++) {
      const part = this.range(cluster).subarray(i * unit, (i + 1) * unit);
      if ((zero >>> i) & 1) part.fill(0);
      if (((data >>> i) & 1) === 0) continue;
      noise(unit, seed + i).copy(part);
      await this.#target.write(offset! + i * unit, part);
    }
  }
}
