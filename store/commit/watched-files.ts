import { stat } from 'node:fs/promises';
import { changedWhileRead, type FileIdentity, type RawFile, sameIdentity } from '../../block/index.ts';

/** The files that a disk is read from, and how they looked before the first byte was read. */
export class WatchedFiles {
  readonly identities: readonly FileIdentity[];
  /** When they were looked at: nanoseconds since 1970. */
  readonly lookedNs: bigint;
  readonly #files: readonly RawFile[];

  private constructor(files: readonly RawFile[], identities: readonly FileIdentity[], lookedNs: bigint) {
    this.#files = files;
    this.identities = identities;
    this.lookedNs = lookedNs;
  }

  /** Looks at the files. @param lookedNs when they were opened */
  static async look(files: readonly RawFile[], lookedNs: bigint): Promise<WatchedFiles> {
    return new WatchedFiles(files, await identitiesOf(files), lookedNs);
  }

  /** True when a change shows: a block device has no times. */
  get tell(): boolean {
    return !this.#files.some((file) => file.isDevice);
  }

  /** Bytes that the files take on disk, or the first `count` of them. @throws system errors of stat(2) */
  async allocatedBytes(count: number = this.#files.length): Promise<number> {
    const sizes = await Promise.all(
      this.#files
        .slice(0, count)
        .map(async (file) => (file.isDevice ? file.size : (await stat(file.path)).blocks * 512)),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  /** @throws ImgstoreError `IN_USE` when a file has changed since */
  async refuseChanged(): Promise<void> {
    const now = await identitiesOf(this.#files);
    const changed = this.#files.findIndex(
      (file, i) => !file.isDevice && !sameIdentity(this.identities[i]!, now[i]!),
    );
    if (changed < 0) return;
    throw changedWhileRead(this.#files[changed]!.path);
  }
}

/** The present moment, as {@link WatchedFiles} counts it. */
export function nowNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

function identitiesOf(files: readonly RawFile[]): Promise<FileIdentity[]> {
  return Promise.all(files.map((file) => file.identity()));
}
