import { existsSync } from 'node:fs';
import { readdir, realpath } from 'node:fs/promises';
import { fromSystem, systemCode } from '../../../errors/index.ts';
import { makeMissingFolders } from '../../../files/index.ts';
import type { Store } from '../../store.ts';
import { defaultOverlays, nameOfOverlay, type SessionPlaces, sessionPlaces } from './names.ts';

/** The folder where the overlays of sessions are. */
export class OverlayFolder {
  readonly #store: Store;
  /** Its real path, if it is there. */
  readonly #path: string;
  readonly #mayBeMissing: boolean;

  private constructor(store: Store, path: string, mayBeMissing: boolean) {
    this.#store = store;
    this.#path = path;
    this.#mayBeMissing = mayBeMissing;
  }

  /**
   * @param path the store's own folder when not given
   * @param options `mayMake`: a folder that is not there is made; else there are no sessions
   * @throws ImgstoreError `IO` when it cannot be made, or may not be looked into
   */
  static async open(
    store: Store,
    path: string = defaultOverlays(store),
    { mayMake }: { readonly mayMake: boolean },
  ): Promise<OverlayFolder> {
    try {
      if (mayMake) await makeMissingFolders(path);
      else if (!existsSync(path)) return new OverlayFolder(store, path, true);
      return new OverlayFolder(store, await realpath(path), !mayMake);
    } catch (error) {
      throw fromSystem(error, path);
    }
  }

  /** Sessions that have overlays. @throws ImgstoreError `IO`, `NOT_FOUND` when somebody has removed the folder */
  async names(): Promise<readonly string[]> {
    try {
      return (await readdir(this.#path)).flatMap((file) => nameOfOverlay(file) ?? []);
    } catch (error) {
      if (this.#mayBeMissing && systemCode(error) === 'ENOENT') return [];
      throw fromSystem(error, this.#path);
    }
  }

  /** Of a session that has an overlay; undefined when it has none. @throws as {@link OverlayFolder.names} */
  async find(name: string): Promise<SessionPlaces | undefined> {
    return (await this.names()).includes(name) ? this.placesOf(name) : undefined;
  }

  /** Of any session. @throws ImgstoreError `BAD_NAME` for a name that is too long */
  placesOf(name: string): SessionPlaces {
    return sessionPlaces(this.#store, this.#path, name);
  }
}
