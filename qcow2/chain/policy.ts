import { realpath } from 'node:fs/promises';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { fromSystem, ImgstoreError, isImgstoreError } from '../../errors/index.ts';

/** What a file is to the image that names it. */
export type FileRole = 'backing file' | 'data file' | 'extent';

/**
 * Which files an image may pull in. A name inside an image is whatever its author wrote: `/etc/shadow`, or a
 * network address. So a name is followed only to plain files in folders that the user allowed.
 */
export class FilePolicy {
  readonly #folders: readonly string[];

  private constructor(folders: readonly string[]) {
    this.#folders = folders;
  }

  /**
   * @param allow folders, each with all that is below it.
   * @throws ImgstoreError `NOT_FOUND` or `IO` for a folder that cannot be resolved.
   */
  static async of(allow: readonly string[]): Promise<FilePolicy> {
    return new FilePolicy(await Promise.all(allow.map((folder) => resolved(folder))));
  }

  /**
   * The real path of the file that `owner` names as `name`.
   * @param owner path of the image that holds the name; relative names start at its folder. QEMU does so for
   * backing files, but takes data files from wherever it was started, which no image can mean.
   * @param role what the file is to the image, for errors.
   * @throws ImgstoreError `FORBIDDEN`, or `NOT_FOUND` when it is allowed but not there.
   */
  async resolve(name: string, owner: string, role: FileRole): Promise<string> {
    const forbidden = (why: string) =>
      new ImgstoreError('FORBIDDEN', `${owner}: its ${role} ${JSON.stringify(name)} ${why}`, {
        path: owner,
        name,
      });
    if (name.startsWith('json:')) throw forbidden('is a json: description: imgstore follows file names only');
    if (hasProtocol(name)) throw forbidden('names a protocol: imgstore follows file names only');
    // Not normalized: what `link/../name` means depends on where the link leads, so the system must say.
    const path = isAbsolute(name) ? name : `${await resolved(dirname(owner))}/${name}`;
    const outside = (file: string) =>
      forbidden(`is outside of the allowed folders: allow its folder with --allow-backing ${dirname(file)}`);
    let real: string;
    try {
      real = await resolved(path);
    } catch (error) {
      // What lies in folders that are not allowed is not told, not even whether it is there.
      if (!this.#allows(resolve(path))) throw outside(resolve(path));
      if (!isImgstoreError(error, 'NOT_FOUND')) throw error;
      throw new ImgstoreError(
        'NOT_FOUND',
        `${owner}: its ${role} ${JSON.stringify(name)} does not exist`,
        { path: owner, name },
        error,
      );
    }
    if (!this.#allows(real)) throw outside(real);
    return real;
  }

  #allows(path: string): boolean {
    return this.#folders.some((folder) => {
      const way = relative(folder, path);
      return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
    });
  }
}

/** QEMU's rule: a colon before the first slash makes a protocol of what is before it. */
function hasProtocol(name: string): boolean {
  const colon = name.indexOf(':');
  const slash = name.indexOf('/');
  return colon >= 0 && (slash < 0 || colon < slash);
}

async function resolved(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    throw fromSystem(error, path);
  }
}
