/**
 * The disks of the demo: small, and the same in every run, so that each byte of what comes back can be told right or wrong.
 *
 * A disk is a Map from cluster numbers to a cluster's bytes; what it lacks is zeros.
 *
 * @module
 */
import { open } from 'node:fs/promises';

export const CLUSTER_SIZE = 65536;
export const VIRTUAL_SIZE = 64 * 1024 * 1024;

/** A freshly installed machine: text that compresses, and programs that do not. */
export function installation() {
  const disk = new Map();
  put(disk, 0, 1, text, 'boot');
  put(disk, 16, 96, text, 'documents');
  put(disk, 256, 64, noise, 'programs');
  put(disk, 900, 32, text, 'logs');
  return disk;
}

/** The same installation, made into a database server: a few clusters differ, and it has tables. */
export function databaseServer() {
  const disk = installation();
  put(disk, 20, 2, text, 'database settings');
  put(disk, 500, 16, noise, 'tables');
  return disk;
}

/** The first machine after an upgrade: programs replaced, a log grown, old documents removed. */
export function upgraded() {
  const disk = installation();
  put(disk, 256, 8, noise, 'newer programs');
  put(disk, 932, 4, text, 'more logs');
  for (let cluster = 100; cluster < 112; cluster++) disk.delete(cluster);
  return disk;
}

/** Bytes in the clusters of a disk that are not zeros. */
export function dataBytes(disk) {
  return disk.size * CLUSTER_SIZE;
}

/** The bytes [offset, offset + length) of a disk. Both must be multiples of the cluster size. */
export function bytesOf(disk, offset, length) {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += CLUSTER_SIZE) {
    const cluster = disk.get((offset + at) / CLUSTER_SIZE);
    if (cluster !== undefined) bytes.set(cluster, at);
  }
  return bytes;
}

/**
 * Writes a disk as qcow2 with imgstore's own writer.
 * @param Qcow2Writer the class of that name in `imgstore/qcow2`
 */
export async function writeQcow2(Qcow2Writer, path, disk) {
  const file = await open(path, 'w');
  try {
    const target = {
      async write(offset, bytes) {
        await file.write(bytes, 0, bytes.length, offset);
      },
    };
    const writer = new Qcow2Writer(target, { virtualSize: VIRTUAL_SIZE, clusterSize: CLUSTER_SIZE });
    for (const cluster of [...disk.keys()].sort((a, b) => a - b)) {
      await target.write(await writer.allocate(cluster), disk.get(cluster));
    }
    await writer.finish();
  } finally {
    await file.close();
  }
}

/** Fills `count` clusters from `first` on. */
function put(disk, first, count, make, topic) {
  for (let i = 0; i < count; i++) disk.set(first + i, make(`${topic} ${i}`));
}

/** A cluster of lines that nobody has to read. */
function text(topic) {
  const next = random(topic);
  let lines = '';
  while (lines.length < CLUSTER_SIZE) lines += `${topic}: entry ${next() % 100_000}, state ${next() % 7}\n`;
  return Buffer.from(lines.slice(0, CLUSTER_SIZE), 'latin1');
}

/** A cluster of pseudo-random bytes. */
function noise(topic) {
  const next = random(topic);
  return Buffer.from(Uint32Array.from({ length: CLUSTER_SIZE / 4 }, next).buffer);
}

/** Numbers of 32 bits that depend on the seed alone (xorshift, seeded by FNV-1a). */
function random(seed) {
  let state = 0x811c9dc5;
  for (const char of seed) state = Math.imul(state ^ char.charCodeAt(0), 0x01000193);
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
