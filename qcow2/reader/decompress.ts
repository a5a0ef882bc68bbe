import { constants, inflateRawSync } from 'node:zlib';
import type { CompressionType } from '../meta/header.ts';
import { measureFrame } from './zstd-frames.ts';

/** qcow2 writes raw deflate streams with a window of 4 KiB, and QEMU reads no others. */
const WINDOW_BITS = 12;
/**
 * Beyond a cluster, for a frame of zstd that does not tell its size: its blocks are then taken at their largest,
 * and some encoders write small ones.
 */
const FRAME_SLACK_BYTES = 32 * 1024 * 1024;

/**
 * Decodes one compressed cluster (specification, section "Cluster mapping", compressed clusters descriptor).
 * @param stored what the descriptor's sectors hold: the stream and bytes after it that mean nothing.
 * @returns exactly `clusterSize` bytes.
 * @throws Error, with the reason only, when the stream is not one of `clusterSize` bytes.
 */
export type ClusterDecompressor = (stored: Buffer, clusterSize: number) => Buffer;

/** Decodes one frame of zstd. */
type FrameDecompressor = (frame: Uint8Array) => Uint8Array;

/** Loads what decodes clusters: zstd's library only for images that have such clusters. */
export async function loadDecompressor(type: CompressionType): Promise<ClusterDecompressor> {
  if (type === 'zlib') return (stored, clusterSize) => whole(inflate(stored, clusterSize), clusterSize);
  const { decompress } = await import('@cloudpss/zstd');
  return (stored, clusterSize) => whole(unzstd(stored, clusterSize, decompress), clusterSize);
}

function whole(bytes: Buffer, clusterSize: number): Buffer {
  if (bytes.length !== clusterSize) throw new Error(`it decodes to ${bytes.length} of ${clusterSize} bytes`);
  return bytes;
}

function inflate(stored: Buffer, clusterSize: number): Buffer {
  return inflateRawSync(stored, {
    windowBits: WINDOW_BITS,
    finishFlush: constants.Z_SYNC_FLUSH,
    maxOutputLength: clusterSize,
    // Room for one byte more than a cluster, so that a good stream is done in one call without a second buffer.
    chunkSize: clusterSize + 64,
  });
}

/** Frame after frame until a cluster is full; the last must fill it exactly. */
function unzstd(stored: Buffer, clusterSize: number, decompress: FrameDecompressor): Buffer {
  const parts: Uint8Array[] = [];
  let length = 0;
  for (let at = 0; length < clusterSize; ) {
    const frame = measureFrame(stored, at);
    if (frame === undefined) throw new Error(`no whole zstd frame at byte ${at}`);
    if (frame.maxContent > clusterSize + FRAME_SLACK_BYTES) throw new Error('a zstd frame is too large');
    if (frame.maxContent > 0) {
      const part = decompress(stored.subarray(at, at + frame.length));
      parts.push(part);
      length += part.length;
    }
    at += frame.length;
  }
  const first = parts[0]!;
  return parts.length === 1
    ? Buffer.from(first.buffer, first.byteOffset, first.byteLength)
    : Buffer.concat(parts);
}
