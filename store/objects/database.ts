import { join } from 'node:path';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import type { FileRules } from '../../files/index.ts';
import {
  type GitObject,
  isId,
  LooseObjects,
  type ObjectHeader,
  type ObjectId,
  type ObjectType,
  parseTag,
} from '../../objects/index.ts';
import { type PackedObject, PackFolder } from '../../pack/index.ts';
import type { PromisedObjects } from './promised.ts';
import { TreeCache } from './tree-cache.ts';

/** git's shortest abbreviation of an id. */
export const LEAST_PREFIX_DIGITS = 4;

/** All objects of a store, loose and packed. What is handed out was checked against its id. */
export class ObjectDatabase {
  readonly loose: LooseObjects;
  readonly packs: PackFolder;
  /** How new files are made. */
  readonly rules: FileRules;
  readonly #trees = new TreeCache();

  readonly #onNotice: (notice: string) => void;
  #promised: PromisedObjects | undefined;

  /**
   * @param folder the `objects/` folder
   * @param onNotice told of packs that are left out and of damage that another copy makes up for
   * @param rules how new files are made
   */
  constructor(folder: string, onNotice: (notice: string) => void = () => {}, rules: FileRules = {}) {
    this.rules = rules;
    this.loose = new LooseObjects(folder, rules);
    this.packs = new PackFolder(join(folder, 'pack'), onNotice);
    this.#onNotice = onNotice;
  }

  /**
   * Whether an object is here, among the packs that are known: a pack that came meanwhile may be missed, which costs
   * an object stored twice and nothing else.
   */
  has(id: ObjectId): boolean {
    return this.isStored(id) || this.isPromised(id);
  }

  /** Counts objects in that are elsewhere until they are read. */
  promise(objects: PromisedObjects): void {
    this.#promised = objects;
  }

  /** What is promised has changed. @throws ImgstoreError `REMOTE_…`, `IO`. */
  async renewPromised(): Promise<void> {
    await this.#promised?.renew();
  }

  /** Whether an object may be elsewhere until it is read. */
  isPromised(id: ObjectId): boolean {
    return this.#promised?.has(id) === true;
  }

  /** Where copies of promised objects are that were read. */
  get copies(): LooseObjects | undefined {
    return this.#promised?.copies;
  }

  /** A promised object that is in memory. */
  held(id: ObjectId): GitObject | undefined {
    return this.#promised?.held(id);
  }

  /**
   * Sees to it that objects can be read which may be elsewhere: to be waited for before clusters are read. What is nowhere is left to the reader to find out.
   * @throws ImgstoreError `REMOTE_…`, `DAMAGED`, `NOT_FOUND` when the remote has lost one, `IO`
   */
  async bring(ids: Iterable<ObjectId>): Promise<void> {
    await this.#promised?.bring([...ids].filter((id) => !this.isStored(id)));
  }

  /** Takes into memory what is promised, where copies have gone or are damaged. Says whether there is any. @throws ImgstoreError as {@link ObjectDatabase.bring}. */
  async hold(ids: Iterable<ObjectId>): Promise<boolean> {
    const promised = this.#promised;
    const elsewhere = [...ids].filter((id) => !this.isStored(id) && promised?.has(id) === true);
    await promised?.hold(elsewhere);
    return elsewhere.length > 0;
  }

  /** As {@link ObjectDatabase.read}, of what may be elsewhere. @throws ImgstoreError also as {@link ObjectDatabase.bring}. */
  async readBrought(id: ObjectId): Promise<GitObject> {
    await this.bring([id]);
    try {
      return this.read(id);
    } catch (error) {
      // Another process may have made room meanwhile.
      const isLost = isImgstoreError(error, 'NOT_FOUND') || isImgstoreError(error, 'DAMAGED');
      if (!isLost || !(await this.hold([id]))) throw error;
      return this.read(id);
    }
  }

  /** As {@link ObjectDatabase.readAs}, of what may be elsewhere. @throws ImgstoreError also as {@link ObjectDatabase.bring}. */
  async readBroughtAs(type: ObjectType, id: ObjectId): Promise<Uint8Array> {
    return dataOf(type, id, await this.readBrought(id));
  }

  /** The object. @throws ImgstoreError `NOT_FOUND`, `DAMAGED`. */
  read(id: ObjectId): GitObject {
    return this.#look(
      id,
      ({ pack, offset }) => pack.readAt(offset, id),
      () => this.loose.read(id) ?? this.held(id) ?? this.copies?.read(id),
    );
  }

  /** The data of an object of one kind. @throws ImgstoreError `NOT_FOUND`, `DAMAGED` (also when it is of another kind). */
  readAs(type: ObjectType, id: ObjectId): Uint8Array {
    return dataOf(type, id, this.read(id));
  }

  /** A tree's data, through a cache: walks of maps meet the same nodes again. Bound, to be handed on. */
  readonly readTree = async (id: ObjectId): Promise<Uint8Array> => {
    return this.#trees.get(id) ?? this.#trees.put(id, this.readAs('tree', id));
  };

  /** An object's kind and size. @throws ImgstoreError `NOT_FOUND`, `DAMAGED`. */
  header(id: ObjectId): ObjectHeader {
    return this.#look(
      id,
      (place) => this.#headerAt(id, place),
      () => this.loose.header(id) ?? headerOf(this.held(id)) ?? this.copies?.header(id),
    );
  }

  /**
   * The ids that begin with a prefix of at least {@link LEAST_PREFIX_DIGITS} hex digits. When there are several and some lead to
   * commits, only those: what people abbreviate is versions (git's "committish" hint).
   */
  withPrefix(prefix: string): ObjectId[] {
    const find = () => {
      if (isId(prefix)) return this.has(prefix) ? [prefix] : [];
      return [...new Set([...this.packs.idsWithPrefix(prefix), ...this.loose.idsWithPrefix(prefix)])];
    };
    const known = find();
    const ids = this.#mayHaveMissed(prefix, known) ? find() : known;
    if (ids.length < 2) return ids;
    const commits = ids.filter((id) => ['commit', 'tag'].includes(this.header(id).type));
    return commits.length > 0 ? commits : ids;
  }

  /** The object at the end of a chain of annotated tags. @throws ImgstoreError `NOT_FOUND`, `DAMAGED`. */
  peel(id: ObjectId): ObjectId {
    let at = id;
    while (this.header(at).type === 'tag') at = parseTag(this.readAs('tag', at)).object;
    return at;
  }

  close(): void {
    this.packs.close();
    void this.#promised?.close();
  }

  /** Whether an object is in the store itself: as {@link ObjectDatabase.has}, without what is promised. */
  isStored(id: ObjectId): boolean {
    return this.packs.has(id) || this.loose.has(id);
  }

  /** Whether another look may find other ids than some that begin with a prefix. */
  #mayHaveMissed(prefix: string, known: readonly ObjectId[]): boolean {
    if (known.length === 0) return this.packs.refresh() || this.packs.distrustMidx(prefix);
    return known.some((id) => this.packs.has(id)) && this.packs.distrustMidx(prefix);
  }

  /** Bytes that are read are checked against the id; what is told from a head is not, so its place is. */
  #headerAt(id: ObjectId, place: PackedObject): ObjectHeader {
    if (this.packs.agrees(id, place)) return place.pack.headerAt(place.offset);
    const { path } = place.pack;
    throw new ImgstoreError('DAMAGED', `${path}: entry at ${place.offset}: is not object ${id}`, {
      path,
      id,
    });
  }

  /** Looks at an object where it is; once more when another process has moved it between packs and loose files meanwhile. */
  #look<T>(id: ObjectId, inPack: (place: PackedObject) => T, inFile: () => T | undefined): T {
    const look = () => {
      const place = this.packs.find(id);
      return place === undefined ? inFile() : this.#firstWhole(id, place, inPack, inFile);
    };
    const found =
      look() ??
      (this.packs.refresh() ? look() : undefined) ??
      inFile() ??
      (this.packs.distrustMidx(id) ? look() : undefined);
    if (found === undefined) throw this.#missing(id);
    return found;
  }

  /**
   * What a pack has, or, when that is damaged, what any other copy has. Undefined for a pack that went before its index was needed and
   * opened: what was in it is elsewhere.
   */
  #firstWhole<T>(
    id: ObjectId,
    first: PackedObject,
    inPack: (place: PackedObject) => T,
    inFile: () => T | undefined,
  ): T | undefined {
    try {
      return inPack(first);
    } catch (error) {
      if (isImgstoreError(error, 'NOT_FOUND')) return inFile();
      if (!isImgstoreError(error, 'DAMAGED')) throw error;
      const place = this.packs.distrustMidx(id) ? this.packs.find(id) : undefined;
      if (place !== undefined) return this.#firstWhole(id, place, inPack, inFile);
      const others = this.packs
        .findAll(id)
        .filter(({ pack, offset }) => pack !== first.pack || offset !== first.offset);
      for (const look of [...others.map((place) => () => inPack(place)), inFile]) {
        const found = wholeOrUndefined(look);
        if (found === undefined) continue;
        this.#onNotice(`${error.message}: another copy is read instead`);
        return found;
      }
      throw error;
    }
  }

  #missing(id: ObjectId): ImgstoreError {
    if (this.isPromised(id))
      return new ImgstoreError('NOT_FOUND', `object ${id} is still at the remote of this lazy clone`, { id });
    const [first, ...more] = this.packs.leftOut();
    const also = more.length === 0 ? '' : ` (and ${more.length} more)`;
    const hint = first === undefined ? '' : `, unless in a pack that is left out: ${first}${also}`;
    return new ImgstoreError('NOT_FOUND', `object ${id} is not in the store${hint}`, { id });
  }
}

function dataOf(type: ObjectType, id: ObjectId, object: GitObject): Uint8Array {
  if (object.type === type) return object.data;
  throw new ImgstoreError('DAMAGED', `object ${id} is a ${object.type} where a ${type} belongs`, {
    id,
    type: object.type,
  });
}

function headerOf(object: GitObject | undefined): ObjectHeader | undefined {
  return object && { type: object.type, size: object.data.length };
}

function wholeOrUndefined<T>(look: () => T | undefined): T | undefined {
  try {
    return look();
  } catch (error) {
    if (isImgstoreError(error, 'DAMAGED')) return undefined;
    throw error;
  }
}
