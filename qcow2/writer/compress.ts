import { deflateRawSync } from 'node:zlib';
import type { CompressionType } from '../meta/header.ts';

/** qcow2 has raw deflate streams with a window of 4 KiB, and QEMU reads no others. */
const WINDOW_BITS = 12;
/** zlib's most: with so small a window the memory is little, and the streams are shorter. */
const MEMORY_LEVEL = 9;

/**
 * Compresses one cluster for an image.
 * @param cluster all of it, also the last of a disk: what lies behind the disk's end is zeros.
 * @param level 1 to 9 for zlib, 1 to 22 for zstd.
 * @returns the stream, or undefined when it is not shorter than the cluster, which is then to be written plain.
 */
export type ClusterCompressor = (cluster: Uint8Array, level: number) => Uint8Array | undefined;

/**
 * Loads what compresses clusters; the function is pure, and every thread loads its own.
 *
 * zstd is the WebAssembly build: the native one keeps its state once for the whole process, so that two threads that
 * compress at a time spoil each other's streams. It is a quarter slower and takes 50 ms to load.
 */
export async function loadCompressor(type: CompressionType): Promise<ClusterCompressor> {
  if (type === 'zlib') return (cluster, level) => ifShorter(deflate(cluster, level), cluster);
  const { compress } = await import('@cloudpss/zstd/wasm');
  return (cluster, level) => ifShorter(compress(cluster, level), cluster);
}

function deflate(cluster: Uint8Array, level: number): Uint8Array {
  return deflateRawSync(cluster, {
    level,
    windowBits: WINDOW_BITS,
    memLevel: MEMORY_LEVEL,
    // Room for the whole stream in one piece.
    chunkSize: Math.max(cluster.length, 64),
  });
}

function ifShorter(stream: Uint8Array, cluster: Uint8Array): Uint8Array | undefined {
  return stream.length < cluster.length ? stream : undefined;
}
