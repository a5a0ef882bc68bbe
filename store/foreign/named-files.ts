import { dirname } from 'node:path';
import { RawFile } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';
import { FilePolicy, type FileRole } from '../../qcow2/index.ts';
import { badForeign } from './fault.ts';

/** The file that the user named and those that it names, each open and checked by the policy for names in images. */
export class NamedFiles {
  /** The image, then the others in the order of their names in it. */
  readonly files: RawFile[] = [];
  readonly #inodes = new Set<string>();
  readonly #allow: readonly string[] | undefined;
  readonly #guessed: boolean;
  #policy: FilePolicy | undefined;

  /**
   * @param allow folders that names may lead to, instead of the image's own
   * @param guessed the image's name does not say its format: it may name no files
   */
  constructor(allow: readonly string[] | undefined, guessed: boolean) {
    this.#allow = allow;
    this.#guessed = guessed;
  }

  /** Opens the file that the user named. @throws ImgstoreError as RawFile.open does */
  async openTop(path: string): Promise<RawFile> {
    return this.#add(await RawFile.open(path), path);
  }

  /** Opens a file that `owner` names. @throws ImgstoreError `FORBIDDEN`, `NOT_FOUND`, `BAD_IMAGE` when it is named twice */
  async open(name: string, owner: string, role: FileRole): Promise<RawFile> {
    if (this.#guessed) {
      throw new ImgstoreError(
        'FORBIDDEN',
        `${owner}: looks like an image by content only and names other files: say its format with --format if it is one`,
        { path: owner, name },
      );
    }
    this.#policy ??= await FilePolicy.of(this.#allow ?? [dirname(owner)]);
    const path = await this.#policy.resolve(name, owner, role);
    const file = await this.#add(await RawFile.open(path), owner);
    // The path has no links in it; one that was put there since would lead around the policy.
    if (file.path === path) return file;
    throw new ImgstoreError('FORBIDDEN', `${path}: was replaced by a link while it was opened`, { path });
  }

  async close(): Promise<void> {
    await Promise.all(this.files.map((file) => file.close()));
  }

  async #add(file: RawFile, owner: string): Promise<RawFile> {
    this.files.push(file);
    const { inode } = await file.identity();
    if (this.#inodes.has(inode)) throw badForeign(owner, `names ${JSON.stringify(file.path)} twice`);
    this.#inodes.add(inode);
    return file;
  }
}
