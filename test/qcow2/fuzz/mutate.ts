import * as layout from '../../../qcow2/meta/layout.ts';
import type { Random } from '../differential/random.ts';
import { type Field, fieldsOf } from './fields.ts';
import type { Seed } from './seeds.ts';

const MAX_MUTATIONS = 5;
const LIMITS = [2 ** 9, 2 ** 16, 2 ** 21, 2 ** 22, 2 ** 23, 2 ** 25, 2 ** 29, 2 ** 31, 2 ** 32, 2 ** 53];
const FLAGS = [0n, 1n, 1n << 62n, 1n << 63n, 3n << 62n];

/** Damages copies of valid images at places that mean something. */
export class Mutator {
  readonly #seeds: readonly { readonly seed: Seed; readonly fields: readonly (readonly Field[])[] }[];

  constructor(seeds: readonly Seed[]) {
    this.#seeds = seeds.map((seed) => ({ seed, fields: fieldsOf(seed.bytes) }));
  }

  /** A damaged image, the same for the same choices. */
  mutate(random: Random): Seed {
    const { seed, fields } = random.pick(this.#seeds);
    let bytes: Buffer = Buffer.from(seed.bytes);
    for (let left = random.between(1, MAX_MUTATIONS); left > 0; left--) {
      if (random.once(8)) bytes = this.#restructure(random, bytes);
      else setField(random, bytes, random.pick(random.pick(fields)), fields);
    }
    return { name: seed.name, bytes };
  }

  #restructure(random: Random, bytes: Buffer): Buffer {
    if (bytes.length < 2) return bytes;
    const from = random.below(bytes.length);
    const length = Math.min(2 ** random.below(17), bytes.length - from);
    switch (random.below(5)) {
      case 0: {
        const source = random.pick([bytes, random.pick(this.#seeds).seed.bytes]);
        source.copy(bytes, from, random.below(source.length), source.length);
        return bytes;
      }
      case 1:
        return bytes.fill(random.pick([0, 0xff, random.below(256)]), from, from + length);
      case 2:
        return bytes.subarray(0, random.pick([from, bytes.length - 1, Math.floor(from / 512) * 512]));
      case 3:
        return Buffer.concat([bytes, Buffer.alloc(2 ** random.below(22))]);
      default: {
        // One cluster over another: a table that is another's.
        const cluster = 4096;
        const to = Math.floor(random.below(bytes.length) / cluster) * cluster;
        bytes.copy(bytes, to, Math.floor(from / cluster) * cluster, Math.floor(from / cluster + 1) * cluster);
        return bytes;
      }
    }
  }
}

function setField(
  random: Random,
  image: Buffer,
  { at, bytes }: Field,
  fields: readonly (readonly Field[])[],
): void {
  if (at + bytes > image.length) return;
  const bits = bytes * 8;
  const value = BigInt.asUintN(bits, newValue(random, image, { at, bytes }, fields));
  image.write(value.toString(16).padStart(bytes * 2, '0'), at, 'hex');
}

function newValue(
  random: Random,
  image: Buffer,
  { at, bytes }: Field,
  fields: readonly (readonly Field[])[],
): bigint {
  const old = BigInt(`0x${image.toString('hex', at, at + bytes)}`);
  const step = BigInt(random.pick([-1, 0, 0, 1]));
  const clusterSize = image.length > 24 ? 2 ** (image.readUInt32BE(layout.CLUSTER_BITS_AT) % 22) : 512;
  const cluster = (offset: number) => BigInt(Math.floor(offset / clusterSize) * clusterSize);
  switch (random.below(12)) {
    case 0:
      return BigInt(random.below(4));
    case 1:
      return -1n;
    case 2:
      return BigInt(random.pick(LIMITS)) + step;
    case 3:
      return old + step * BigInt(random.pick([1, 2, 8, 512, clusterSize]));
    case 4:
      return old ^ (1n << BigInt(random.below(bytes * 8)));
    case 5:
      return (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));
    case 6:
      // Itself, or what it is part of.
      return cluster(at) | random.pick(FLAGS);
    case 7:
      return BigInt(image.length) + step * BigInt(random.pick([1, 512, clusterSize]));
    case 8:
      return (cluster(image.length) + BigInt(random.below(9) * clusterSize)) | random.pick(FLAGS);
    case 9: {
      const other = random.pick(random.pick(fields));
      return cluster(other.at) | random.pick(FLAGS);
    }
    case 10: {
      const other = random.pick(random.pick(fields));
      return other.at + other.bytes > image.length
        ? old
        : BigInt(`0x${image.toString('hex', other.at, other.at + other.bytes)}`);
    }
    default:
      return cluster(random.below(image.length + 1)) | random.pick(FLAGS);
  }
}
