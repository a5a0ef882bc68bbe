import { MAX_SNAPSHOTS } from '../meta/layout.ts';
import { encodeSnapshot, MAX_SNAPSHOT_ID_BYTES, MAX_SNAPSHOT_NAME_BYTES } from '../meta/snapshot-encode.ts';
import { usage } from './usage.ts';

const MAX_SECONDS = 2 ** 32;

/** An internal snapshot of a disk alone: no memory, no devices. */
export interface SnapshotOptions {
  /** Unique in the image; QEMU counts from 1. 1 to 127 bytes as UTF-8. */
  readonly id: string;
  /** At most 255 bytes as UTF-8. */
  readonly name: string;
  readonly date: Date;
  /** Bytes, rounded up to a multiple of 512; that of the active disk when not given, as it must be in version 2. */
  readonly virtualSize?: number | undefined;
}

/** The entries of the snapshot table of an image in the making. */
export class SnapshotList {
  readonly #ids = new Set<string>();
  readonly #entries: Uint8Array[] = [];

  get count(): number {
    return this.#entries.length;
  }

  /** Takes a snapshot's id before its disk is written. @throws ImgstoreError `USAGE` when there cannot be such a snapshot. */
  admit({ id, name, date }: SnapshotOptions): void {
    const idBytes = Buffer.byteLength(id);
    if (idBytes < 1 || idBytes > MAX_SNAPSHOT_ID_BYTES || id.includes('\0')) {
      throw usage(`a snapshot's id has 1 to ${MAX_SNAPSHOT_ID_BYTES} bytes, not ${idBytes}`);
    }
    if (Buffer.byteLength(name) > MAX_SNAPSHOT_NAME_BYTES || name.includes('\0')) {
      throw usage(`a snapshot's name has at most ${MAX_SNAPSHOT_NAME_BYTES} bytes`);
    }
    const seconds = date.getTime() / 1000;
    if (!(seconds >= 0 && seconds < MAX_SECONDS)) {
      throw usage(`snapshot ${id}: its date is not within 1970 to 2106`);
    }
    if (this.#ids.has(id)) throw usage(`snapshot id ${id} comes twice`);
    if (this.#ids.size === MAX_SNAPSHOTS) throw usage(`more than ${MAX_SNAPSHOTS} snapshots`);
    this.#ids.add(id);
  }

  /** Adds an admitted snapshot whose disk is written. */
  add(options: SnapshotOptions, l1Offset: number, l1Entries: number, diskSize: number): void {
    this.#entries.push(encodeSnapshot({ ...options, l1Offset, l1Entries, diskSize }));
  }

  /** The table's bytes. */
  encode(): Buffer {
    return Buffer.concat(this.#entries);
  }
}
