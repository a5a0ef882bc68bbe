import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { noise } from '../qemu.ts';
import { qemu, qemuDone } from './qemu-run.ts';
import type { Random } from './random.ts';

const CLUSTER_SIZES = [512, 1024, 4096, 16384, 65536, 262144, 1048576, 2097152];
const MAX_DISK_BYTES = 24 * 1024 * 1024;
/** Clusters of a disk at most, so that small clusters make several L2 tables and not thousands. */
const MAX_CLUSTERS = 600;
const MAX_LAYERS = 3;

/** Options of one qcow2 layer. */
interface LayerOptions {
  readonly clusterSize: number;
  readonly version: 2 | 3;
  readonly dataFile: boolean;
  readonly text: string;
}

/** An image with all below it, made by QEMU. */
export interface GeneratedImage {
  readonly folder: string;
  /** The top image's path. */
  readonly path: string;
  /** Every command that made it, to make it again by hand. */
  readonly commands: readonly string[];
}

/** Makes a chain of images in the empty folder `folder`. */
export async function generateImage(random: Random, folder: string): Promise<GeneratedImage> {
  const commands: string[] = [];
  const layers = random.once(2) ? 1 : random.between(2, MAX_LAYERS);
  let below: { name: string; format: 'raw' | 'qcow2' } | undefined;
  if (random.once(4)) {
    below = { name: 'base.raw', format: 'raw' };
    await makeRaw(random, join(folder, below.name));
  }
  for (let layer = 0; layer < layers; layer++) {
    const name = `layer${layer}.qcow2`;
    const options = layerOptions(random, below !== undefined, `layer${layer}.data`);
    const make = ['create', '-q', '-f', 'qcow2', '-o', options.text];
    if (below !== undefined) make.push('-b', below.name, '-F', below.format);
    let size = diskSize(random, options.clusterSize);
    make.push(name, String(size));
    commands.push(`qemu-img ${make.join(' ')}`);
    await qemuDone(folder, 'qemu-img', make);
    for (let round = random.between(1, 4); round > 0; round--) {
      const change = random.once(3)
        ? imageChange(random, options, name, size)
        : guestWrites(random, options, name, size);
      // What an image's options do not allow, QEMU refuses: that is not what is tested here.
      const { code } = await qemu(folder, change.program, change.args);
      commands.push(`${change.program} ${change.args.join(' ')}${code === 0 ? '' : ` # ${code}`}`);
      if (code === 0 && change.size !== undefined) size = change.size;
    }
    below = { name, format: 'qcow2' };
  }
  return { folder, path: join(folder, below!.name), commands };
}

async function makeRaw(random: Random, path: string): Promise<void> {
  const size = random.between(1, 20_000) * 512;
  const file = await open(path, 'w');
  await file.truncate(size);
  for (let i = 0; i < 4; i++) {
    const at = random.below(size);
    await file.write(noise(Math.min(random.between(1, 100_000), size - at), i), 0, undefined, at);
  }
  await file.close();
}

function diskSize(random: Random, clusterSize: number): number {
  const most = Math.min(MAX_DISK_BYTES, MAX_CLUSTERS * clusterSize) / 512;
  return random.between(1, most) * 512;
}

function layerOptions(random: Random, hasBacking: boolean, dataName: string): LayerOptions {
  const version = random.once(5) ? 2 : 3;
  const extended = version === 3 && random.once(4);
  const clusterSize = random.pick(extended ? CLUSTER_SIZES.filter((size) => size >= 16384) : CLUSTER_SIZES);
  const list = [`compat=${version === 2 ? '0.10' : '1.1'}`, `cluster_size=${clusterSize}`];
  const dataFile = version === 3 && random.once(7);
  if (version === 3) {
    list.push(`refcount_bits=${2 ** random.below(7)}`);
    if (extended) list.push('extended_l2=on');
    if (random.once(2)) list.push('compression_type=zstd');
    if (random.once(4)) list.push('lazy_refcounts=on');
    if (dataFile) {
      list.push(`data_file=${dataName}`);
      if (!hasBacking && random.once(2)) list.push('data_file_raw=on');
    }
  }
  if ((!hasBacking || extended) && random.once(3)) {
    list.push(`preallocation=${random.pick(['metadata', 'falloc', 'full'])}`);
  }
  return { clusterSize, version, dataFile, text: list.join(',') };
}

/** One command, and the disk's size after it where that changes. */
interface Change {
  readonly program: string;
  readonly args: readonly string[];
  readonly size?: number;
}

/** Snapshots, bitmaps, sizes. */
function imageChange(random: Random, { clusterSize }: LayerOptions, name: string, size: number): Change {
  const image = ['-f', 'qcow2', name];
  const id = String(random.between(1, 3));
  switch (random.below(6)) {
    case 0:
    case 1:
      return { program: 'qemu-img', args: ['snapshot', '-q', '-c', `s${id}`, name] };
    case 2:
      return { program: 'qemu-img', args: ['snapshot', '-q', random.pick(['-a', '-d']), `s${id}`, name] };
    case 3: {
      const granularity = String(2 ** random.between(9, 20));
      return {
        program: 'qemu-img',
        args: ['bitmap', '--add', '-g', granularity, ...image, `b${random.below(1000)}`],
      };
    }
    case 4:
      return {
        program: 'qemu-img',
        args: ['bitmap', '--add', ...image, `d${random.below(1000)}`, '--disable'],
      };
    default: {
      const wanted = diskSize(random, clusterSize);
      const shrink = wanted < size ? ['--shrink'] : [];
      return {
        program: 'qemu-img',
        args: ['resize', '-q', ...shrink, ...image, String(wanted)],
        size: wanted,
      };
    }
  }
}

/** What a guest does; now and then its host fails in the middle of it. */
function guestWrites(random: Random, options: LayerOptions, name: string, size: number): Change {
  const commands = Array.from({ length: random.between(1, 8) }, () => guestWrite(random, options, size));
  if (random.once(8)) commands.push('flush', guestWrite(random, options, size), 'sigraise 9');
  const discard = random.once(3) ? [] : ['-d', 'unmap'];
  return {
    program: 'qemu-io',
    args: [...commands.flatMap((command) => ['-c', command]), ...discard, '-f', 'qcow2', name],
  };
}

function guestWrite(random: Random, { clusterSize, dataFile }: LayerOptions, size: number): string {
  // Whole clusters, sectors, and what a guest with odd requests would do.
  const unit = random.pick([clusterSize, 512, 4096]);
  const at = Math.floor(random.below(size) / unit) * unit;
  const length = Math.min(random.between(1, random.pick([3, 20, 100])) * unit, size - at);
  if (length % 512 !== 0 || length === 0) return `write -P 1 0 ${Math.min(size, 512)}`;
  const range = `${at} ${length}`;
  const pattern = random.between(1, 255);
  switch (random.below(dataFile ? 7 : 9)) {
    case 0:
      return `write -z ${range}`;
    case 1:
      return `write -z -u ${range}`;
    case 2:
    case 3:
      return `discard ${range}`;
    case 7:
    case 8: {
      const cluster = Math.floor(at / clusterSize) * clusterSize;
      const clusters = Math.min(random.between(1, 12), Math.floor((size - cluster) / clusterSize));
      return `write -c -P ${pattern} ${cluster} ${Math.max(1, clusters) * clusterSize}`;
    }
    default:
      return `write -P ${pattern} ${range}`;
  }
}
