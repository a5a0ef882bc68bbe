import { FAN_OUT_DIGITS, type LooseObjects, type ObjectId } from '../../objects/index.ts';

/** Looks for single files in a folder before all of it is listed: a look that misses takes 20 µs, and listing 4000 names 2 ms. */
const LOOKS_BEFORE_LISTING = 8;

interface AskedFolder {
  looks: number;
  names: ReadonlySet<ObjectId> | undefined;
}

/**
 * Which objects may be loose, without a look at the file system for each: a packed store has few folders of them, and a look for each cluster of a first commit takes 0.1 s. What comes in meanwhile
 * may be missed, and is stored twice then, and no more.
 */
export class LooseNames {
  readonly #loose: LooseObjects;
  #folders: ReadonlyMap<string, AskedFolder> | undefined;

  constructor(loose: LooseObjects) {
    this.#loose = loose;
  }

  /** False when the object was not there at the first looks; when true, that is for the caller to find out. @throws ImgstoreError `IO`. */
  mayHave(id: ObjectId): boolean {
    this.#folders ??= new Map(this.#loose.folders().map((name) => [name, { looks: 0, names: undefined }]));
    const name = id.slice(0, FAN_OUT_DIGITS);
    const folder = this.#folders.get(name);
    if (folder === undefined) return false;
    if (folder.looks++ < LOOKS_BEFORE_LISTING) return true;
    folder.names ??= new Set(this.#loose.idsWithPrefix(name));
    return folder.names.has(id);
  }
}
