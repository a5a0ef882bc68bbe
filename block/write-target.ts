/**
 * Where a new image is written: a file, memory, a device.
 *
 * Calls come in any order and may overlap in time. Ranges that are never written must read as zeros afterwards,
 * as they do in a new file.
 */
export interface WriteTarget {
  /** Writes all of `bytes` at `offset` (bytes from the start), extending the target as needed. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
}
