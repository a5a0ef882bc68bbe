import { type PendingFile, syncFolder } from '../files/index.ts';
import type { ObjectId } from '../objects/index.ts';
import { FileBytes } from './bytes.ts';
import { Idx } from './idx/idx.ts';

/** A pack that is complete but has no name yet, so that no reader sees it. */
export class PendingPack {
  /** The pack's checksum in hex: git names packs by it. */
  readonly checksum: string;
  /** Bytes of pack, reverse index and index. */
  readonly fileBytes: number;
  readonly #folder: string;
  /** In the order of renaming: the index last, as it is what makes a pack visible. */
  readonly #files: readonly PendingFile[];
  /** The index under its temporary name; undefined once the pack is published or discarded. */
  #idxFile: FileBytes | undefined;
  #idx: Idx | undefined;

  readonly #lasting: boolean;

  constructor(
    folder: string,
    checksum: string,
    fileBytes: number,
    files: readonly PendingFile[],
    lasting: boolean,
  ) {
    this.#lasting = lasting;
    this.#folder = folder;
    this.checksum = checksum;
    this.fileBytes = fileBytes;
    this.#files = files;
    this.#idxFile = new FileBytes(files.at(-1)!.path);
    this.#idx = new Idx(this.#idxFile);
  }

  /** Whether an object is in it and in no pack that readers see: false once it is published or discarded. */
  has(id: ObjectId): boolean {
    return this.#idx?.find(id) !== undefined;
  }

  /** Gives the files their names and returns the path without ending. */
  async publish(): Promise<string> {
    const stem = `${this.#folder}/pack-${this.checksum}`;
    this.#close();
    for (const file of this.#files) await file.rename(`${stem}.${file.kind}`);
    if (this.#lasting) await syncFolder('pack', this.#folder);
    return stem;
  }

  /** Removes the files. Never throws. */
  async discard(): Promise<void> {
    this.#close();
    for (const file of this.#files) await file.discard();
  }

  #close(): void {
    this.#idxFile?.close();
    this.#idxFile = undefined;
    this.#idx = undefined;
  }
}
