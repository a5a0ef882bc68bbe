import { NULL_ID, type ObjectId } from '../../../objects/index.ts';
import { currentPerson } from '../../person.ts';
import type { Store } from '../../store.ts';
import { readVersion, type VersionDisk } from '../../version/version.ts';
import type { SessionPlaces } from './names.ts';

/** The refs by which a session keeps versions from `gc`. */
export class SessionRefs {
  readonly #store: Store;
  readonly #places: SessionPlaces;

  constructor(store: Store, places: SessionPlaces) {
    this.#store = store;
    this.#places = places;
  }

  /** Of a session that begins on a version. */
  async begin(base: ObjectId): Promise<void> {
    await this.#put(this.#places.baseRef, base);
    await this.#put(this.#places.lastRef, base);
  }

  /** Of an overlay that is there, whose header says what it stands on. */
  async keepBase(base: ObjectId): Promise<void> {
    const { baseRef } = this.#places;
    if ((await this.#store.refs.resolve(baseRef)) !== base) await this.#put(baseRef, base);
  }

  /** The version that was committed last from an overlay, as far as it can be of this one; else its base. */
  async lastOn({ version, name, virtualSize }: VersionDisk): Promise<ObjectId> {
    const last = await this.#store.refs.resolve(this.#places.lastRef);
    if (last === undefined) return version;
    const disk = readVersion(this.#store.objects, last).disks.find((each) => each.name === name);
    return disk?.virtualSize === virtualSize ? last : version;
  }

  async remove(): Promise<void> {
    const person = currentPerson('committer', this.#store.config);
    for (const name of [this.#places.baseRef, this.#places.lastRef]) {
      const { id, fault } = await this.#store.refs.follow(name);
      if (id === undefined && fault === undefined) continue;
      const change = { before: undefined, after: NULL_ID, person, message: 'session discarded' };
      await this.#store.refs.update({ name, ...change });
    }
  }

  async #put(name: string, after: ObjectId): Promise<void> {
    const person = currentPerson('committer', this.#store.config);
    await this.#store.refs.update({ name, before: undefined, after, person, message: 'session' });
  }
}
