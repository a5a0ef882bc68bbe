import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { isId, NULL_ID, type ObjectId } from '../../objects/index.ts';
import { BRANCHES, TAGS } from '../refs/name.ts';
import { resolveRevision } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { mapRef, parseRefspec } from './refspec.ts';
import type { Remote } from './remote.ts';

/** Where a ref of a remote is thought to be: {@link NULL_ID} for nowhere, undefined when it was never fetched. */
export interface Lease {
  readonly at: ObjectId | undefined;
}

/**
 * `--force-with-lease`: a ref is moved wherever it goes, when it is on the remote where it is thought to be: `''` for where it was when it was fetched last, of all refs
 * that are pushed; `REF` of one; `REF:REV` where it is thought to be; `REF:` that it is not there.
 */
export class Leases {
  readonly #all: boolean;
  /** Undefined: as it was fetched last. */
  readonly #named: ReadonlyMap<string, ObjectId | undefined>;

  private constructor(all: boolean, named: ReadonlyMap<string, ObjectId | undefined>) {
    this.#all = all;
    this.#named = named;
  }

  /** @throws ImgstoreError `NOT_FOUND`, `USAGE` for a revision that is none; a whole id need not be here */
  static async parse(store: Store, texts: readonly string[]): Promise<Leases> {
    const named = new Map<string, ObjectId | undefined>();
    for (const text of texts.filter((each) => each !== '')) {
      const colon = text.indexOf(':');
      const ref = colon < 0 ? text : text.slice(0, colon);
      const revision = colon < 0 ? undefined : text.slice(colon + 1);
      if (ref === '')
        throw new ImgstoreError('USAGE', `--force-with-lease=${text}: write REF, REF:REV or REF:`, { text });
      const id =
        revision === undefined ? undefined : revision === '' ? NULL_ID : await idOf(store, revision, text);
      named.set(ref, id);
    }
    return new Leases(texts.includes(''), named);
  }

  /**
   * What is thought of a ref of the remote; undefined without a lease on it.
   * @param ref its full name
   */
  async find(store: Store, remote: Remote, ref: string): Promise<Lease | undefined> {
    const names = [
      ref,
      ...[BRANCHES, TAGS].filter((kind) => ref.startsWith(kind)).map((kind) => ref.slice(kind.length)),
    ];
    const name = names.find((each) => this.#named.has(each));
    if (name === undefined && !this.#all) return undefined;
    const given = name === undefined ? undefined : this.#named.get(name);
    if (given !== undefined) return { at: given };
    const here = mapRef(remote.fetch.map(parseRefspec), ref)?.name;
    return { at: here === undefined ? undefined : (await store.refs.follow(here)).id };
  }
}

async function idOf(store: Store, revision: string, text: string): Promise<ObjectId> {
  if (isId(revision)) return revision;
  try {
    return (await resolveRevision(store, revision)).id;
  } catch (error) {
    if (!isImgstoreError(error)) throw error;
    const message = `--force-with-lease=${text}: ${error.message}; what only the remote has is named by its whole id ('imgstore ls-remote --json')`;
    throw new ImgstoreError(error.code, message, error.data, error);
  }
}
