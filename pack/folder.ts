import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fromSystem, systemCode } from '../errors/index.ts';
import type { GitObject, ObjectHeader, ObjectId } from '../objects/index.ts';
import { Pack, type PackedStream } from './pack.ts';

const IDX_PATTERN = /^(pack-[0-9a-f]+)\.idx$/;

/** An object's place: which pack, and where in its index. */
export interface PackedObject {
  readonly pack: Pack;
  readonly position: number;
}

/** The packs of a store: everything below `objects/pack`. */
export class PackFolder {
  /** The `objects/pack` folder. */
  readonly folder: string;
  /** Most recently useful first: neighbours in a map tend to be in one pack. */
  #packs: Pack[] | undefined;
  /** Packs that another process removed: a reader in another thread may still be at one, so they stay open. */
  readonly #retired: Pack[] = [];

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Looks at the folder anew; packs that are open stay so. Returns true when there are new ones. */
  refresh(): boolean {
    const known = new Map((this.#packs ?? []).map((pack) => [pack.stem, pack]));
    const stems = this.#stems();
    const opened = stems.filter((stem) => !known.has(stem)).flatMap(openIfThere);
    const gone = new Set(known.keys());
    for (const stem of stems) gone.delete(stem);
    for (const stem of gone) this.#retired.push(known.get(stem)!);
    this.#packs = [...opened, ...[...known.values()].filter((pack) => !gone.has(pack.stem))];
    return opened.length > 0;
  }

  /** All packs, in no order that means anything. */
  packs(): readonly Pack[] {
    if (this.#packs === undefined) this.refresh();
    return this.#packs!;
  }

  /** Where an object is, among the packs that are known. */
  find(id: ObjectId): PackedObject | undefined {
    const packs = this.packs() as Pack[];
    for (let i = 0; i < packs.length; i++) {
      const pack = packs[i]!;
      const position = pack.idx.find(id);
      if (position === undefined) continue;
      if (i > 0) packs.unshift(...packs.splice(i, 1));
      return { pack, position };
    }
    return undefined;
  }

  has(id: ObjectId): boolean {
    return this.find(id) !== undefined;
  }

  /** The object, checked against its id, or undefined. @throws ImgstoreError `DAMAGED`. */
  read(id: ObjectId): GitObject | undefined {
    const place = this.find(id);
    return place?.pack.read(place.position);
  }

  header(id: ObjectId): ObjectHeader | undefined {
    const place = this.find(id);
    return place?.pack.header(place.position);
  }

  /** Where the object's bytes lie, for a reader in another thread; undefined when it is not here or is a delta. */
  wholeStream(id: ObjectId): PackedStream | undefined {
    const place = this.find(id);
    return place?.pack.wholeStream(place.position);
  }

  /** The ids that begin with some hex digits; one that is in two packs comes twice. */
  *idsWithPrefix(prefix: string): Generator<ObjectId> {
    // A copy: a look-up between two ids changes the order.
    for (const pack of [...this.packs()]) yield* pack.idx.idsWithPrefix(prefix);
  }

  close(): void {
    for (const pack of [...(this.#packs ?? []), ...this.#retired.splice(0)]) pack.close();
    this.#packs = undefined;
  }

  #stems(): string[] {
    try {
      return readdirSync(this.folder).flatMap((name) => {
        const stem = IDX_PATTERN.exec(name)?.[1];
        return stem === undefined ? [] : [join(this.folder, stem)];
      });
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return [];
      throw fromSystem(error, this.folder);
    }
  }
}

/** A pack may go between the listing and the opening, when another process has put its objects into a larger one. */
function openIfThere(stem: string): Pack[] {
  try {
    return [new Pack(stem)];
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'NOT_FOUND') return [];
    throw error;
  }
}
