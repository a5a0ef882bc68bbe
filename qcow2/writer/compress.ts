import { deflateRawSync } from 'node:zlib';
import { compress as zstdCompress } from '@cloudpss/zstd';
import type { CompressionType } from '../meta/header.ts';

/** qcow2 has raw deflate streams with a window of 4 KiB, and QEMU reads no others. */
const WINDOW_BITS = 12;
/** zlib's most: with so small a window the memory is little, and the streams are shorter. */
const MEMORY_LEVEL = 9;

/**
 * Compresses one cluster for an image; pure, so that any thread can do it.
 * @param cluster all of it, also the last of a disk: what lies behind the disk's end is zeros.
 * @param level 1 to 9 for zlib, 1 to 22 for zstd.
 * @returns the stream, or undefined when it is not shorter than the cluster, which is then to be written plain.
 */
export function compressCluster(
  cluster: Uint8Array,
  type: CompressionType,
  level: number,
): Uint8Array | undefined {
  const stream =
    type === 'zstd'
      ? zstdCompress(cluster, level)
      : deflateRawSync(cluster, {
          level,
          windowBits: WINDOW_BITS,
          memLevel: MEMORY_LEVEL,
          // Room for the whole stream in one piece.
          chunkSize: cluster.length,
        });
  return stream.length < cluster.length ? stream : undefined;
}
