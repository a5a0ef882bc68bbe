import { join } from 'node:path';
import { ImgstoreError } from '../../errors/index.ts';
import {
  type GitObject,
  isId,
  LooseObjects,
  type ObjectHeader,
  type ObjectId,
  type ObjectType,
  parseTag,
} from '../../objects/index.ts';
import { PackFolder } from '../../pack/index.ts';
import { TreeCache } from './tree-cache.ts';

/** git's shortest abbreviation of an id. */
export const LEAST_PREFIX_DIGITS = 4;

/** All objects of a store, loose and packed. What is handed out was checked against its id. */
export class ObjectDatabase {
  readonly loose: LooseObjects;
  readonly packs: PackFolder;
  readonly #trees = new TreeCache();

  /** @param folder the `objects/` folder */
  constructor(folder: string) {
    this.loose = new LooseObjects(folder);
    this.packs = new PackFolder(join(folder, 'pack'));
  }

  /**
   * Whether an object is here, among the packs that are known: a pack that came meanwhile may be missed, which costs
   * an object stored twice and nothing else.
   */
  has(id: ObjectId): boolean {
    return this.packs.has(id) || this.loose.has(id);
  }

  /** The object. @throws ImgstoreError `NOT_FOUND`, `DAMAGED`. */
  read(id: ObjectId): GitObject {
    const object =
      this.#tryRead(id) ?? (this.packs.refresh() ? this.#tryRead(id) : undefined) ?? this.loose.read(id);
    if (object === undefined) throw missing(id);
    return object;
  }

  /** The data of an object of one kind. @throws ImgstoreError `NOT_FOUND`, `DAMAGED` (also when it is of another kind). */
  readAs(type: ObjectType, id: ObjectId): Uint8Array {
    const object = this.read(id);
    if (object.type !== type) {
      throw new ImgstoreError('DAMAGED', `object ${id} is a ${object.type} where a ${type} belongs`, {
        id,
        type: object.type,
      });
    }
    return object.data;
  }

  /** A tree's data, through a cache: walks of maps meet the same nodes again. Bound, to be handed on. */
  readonly readTree = async (id: ObjectId): Promise<Uint8Array> => {
    return this.#trees.get(id) ?? this.#trees.put(id, this.readAs('tree', id));
  };

  /** An object's kind and size. @throws ImgstoreError `NOT_FOUND`, `DAMAGED`. */
  header(id: ObjectId): ObjectHeader {
    const find = () => this.packs.header(id) ?? this.loose.header(id);
    const header = find() ?? (this.packs.refresh() ? find() : undefined);
    if (header === undefined) throw missing(id);
    return header;
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
    const ids = known.length === 0 && this.packs.refresh() ? find() : known;
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
  }

  #tryRead(id: ObjectId): GitObject | undefined {
    return this.packs.read(id) ?? this.loose.read(id);
  }
}

function missing(id: ObjectId): ImgstoreError {
  return new ImgstoreError('NOT_FOUND', `object ${id} is not in the store`, { id });
}
