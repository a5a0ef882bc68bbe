import { createHmac, randomBytes } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fromSystem, systemCode } from '../../errors/index.ts';
import { makeFolder, writeWholeFile } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { ImageFile } from '../live/image-file.ts';
import type { Store } from '../store.ts';
import { type TrustedBitmap, trustedBitmap } from '../track/dirty.ts';
import { parseTrackingName, trackingName } from '../track/name.ts';
import type { Domain } from './domain.ts';
import type { Virsh } from './virsh.ts';

/** Bytes of the two parts of a name. */
const TAG_BYTES = 6;
const RANDOM_BYTES = 8;

/** What a checkpoint has noted since it began, which was when a disk held that of a version. */
export interface TrustedCheckpoint
  extends TrustedBitmap<{ readonly name: string; readonly flaw: undefined }> {
  /** Its name. */
  readonly checkpoint: string;
}

/**
 * The checkpoints of libvirt by which a store keeps track of a domain for a branch: `imgstore-<tag>-<random>`. One begins before there is the version whose moment
 * is its own, so it cannot say that; `imgstore/checkpoints/<name>` in the store does, by the names that bitmaps would have in `commit --track`, which are
 * sealed. Without that file a checkpoint tells nothing.
 */
export class Checkpoints {
  readonly #virsh: Virsh;
  readonly #store: Store;
  readonly #key: Uint8Array;
  readonly #uuid: string;
  readonly #prefix: string;

  /** @param key of the store @param ref the branch */
  constructor(virsh: Virsh, store: Store, key: Uint8Array, { uuid }: Domain, ref: string) {
    this.#virsh = virsh;
    this.#store = store;
    this.#key = key;
    this.#uuid = uuid;
    const tag = createHmac('sha256', key)
      .update(JSON.stringify(['checkpoint', uuid, ref]))
      .digest();
    this.#prefix = `imgstore-${tag.subarray(0, TAG_BYTES).toString('hex')}-`;
  }

  /** A name that none has had. */
  newName(): string {
    return `${this.#prefix}${randomBytes(RANDOM_BYTES).toString('hex')}`;
  }

  /** Names of those that libvirt has. @throws ImgstoreError `LIBVIRT` */
  async list(): Promise<string[]> {
    const names = await this.#virsh.run('checkpoint-list', { domain: this.#uuid, name: true });
    return names.split('\n').filter((name) => name.startsWith(this.#prefix));
  }

  /**
   * The checkpoint that tells what was written to a disk since the last version.
   * @param names of those that there are @param tip of the branch
   * @returns why none does, as a line; undefined when there never was one
   */
  async trusted(
    disk: string,
    names: readonly string[],
    { place }: ImageFile,
    tip: ObjectId | undefined,
  ): Promise<TrustedCheckpoint | string | undefined> {
    let why = await this.#whyNone(names);
    for (const checkpoint of names) {
      const recorded = (await this.#recorded(checkpoint)).find(
        (name) => parseTrackingName(name)?.disk === disk,
      );
      if (recorded === undefined) continue;
      const bitmaps = [{ name: recorded, flaw: undefined }];
      const trusted = await trustedBitmap(this.#store, { bitmaps, place }, tip);
      if (typeof trusted === 'object') return { ...trusted, isOurs: false, checkpoint };
      why = trusted;
    }
    return why;
  }

  /** Says which version a checkpoint began with. @throws ImgstoreError `IO` */
  async record(
    name: string,
    commit: ObjectId,
    disks: readonly { readonly name: string; readonly image: ImageFile }[],
  ): Promise<void> {
    const lines = disks.flatMap(({ name: disk, image }) =>
      image.place === undefined ? [] : [`${trackingName(this.#key, { commit, disk }, image.place)}\n`],
    );
    await makeFolder('checkpoint', this.#folder, this.#store.rules);
    await writeWholeFile(
      'checkpoint',
      this.#path(name),
      Buffer.from(lines.join('')),
      this.#store.rules.sharing,
    );
  }

  /** Deletes one with its bitmaps. @throws ImgstoreError `LIBVIRT` */
  async delete(name: string): Promise<void> {
    await this.#virsh.run('checkpoint-delete', { domain: this.#uuid, checkpointname: name });
    await this.#forget(name);
  }

  /** Deletes all but one, also those whose bitmaps are gone. @throws ImgstoreError `LIBVIRT`, `IO` */
  async deleteOthers(kept: string): Promise<void> {
    for (const name of await this.list()) {
      if (name === kept) continue;
      const which = { domain: this.#uuid, checkpointname: name };
      try {
        await this.#virsh.run('checkpoint-delete', which);
      } catch {
        await this.#virsh.run('checkpoint-delete', { ...which, metadata: true });
      }
    }
    for (const name of await this.#records()) if (name !== kept) await this.#forget(name);
  }

  async #whyNone(names: readonly string[]): Promise<string | undefined> {
    const records = await this.#records();
    if (names.some((name) => !records.includes(name)))
      return 'a commit of the domain did not come to its end';
    return records.length > 0 && names.length === 0 ? 'it is gone' : undefined;
  }

  /** Names of checkpoints of which a version is known. */
  async #records(): Promise<string[]> {
    try {
      return (await readdir(this.#folder)).filter((name) => name.startsWith(this.#prefix));
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return [];
    }
  }

  async #recorded(name: string): Promise<string[]> {
    try {
      return (await readFile(this.#path(name), 'utf8')).split('\n');
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return [];
    }
  }

  async #forget(name: string): Promise<void> {
    try {
      await rm(this.#path(name), { force: true });
    } catch (error) {
      throw fromSystem(error, this.#path(name));
    }
  }

  get #folder(): string {
    return join(this.#store.folder, 'imgstore', 'checkpoints');
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}
