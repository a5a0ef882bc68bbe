import { mkdir } from 'node:fs/promises';
import type { FileRules } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { Bucket } from '../bucket/bucket.ts';
import { IndexView, nextView, type RemotePlace } from './index-view.ts';
import { KeptIndexes, type OpenIndex } from './kept-indexes.ts';
import type { PackKind, RemotePack } from './state.ts';

/**
 * The indexes of a bucket's packs, each fetched once and kept in a folder, as they never change: so what the bucket has is known here, and where in which pack. Those of many packs are joined into layers, so that neither
 * opening nor looking up takes a step for each pack.
 */
export class RemoteIndexes {
  readonly #kept: KeptIndexes;
  #view: IndexView;
  /** The last {@link RemoteIndexes.use}: they come one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  /** @param folder where indexes are kept; it is made when needed */
  constructor(bucket: Bucket, folder: string, rules: FileRules = {}) {
    this.#kept = new KeptIndexes(bucket, folder, rules);
    this.#view = this.#nothing();
  }

  /** Path at which the index of a pack is, or is to be, kept. */
  path(pack: string): string {
    return this.#kept.path(pack);
  }

  /**
   * Makes these the packs that are looked into; fetches the indexes that are not at hand. Until that is done, and when it fails, those before are.
   * @throws ImgstoreError `DAMAGED` for an index that is not of its pack, `NOT_FOUND`, `REMOTE_…`, `IO`
   */
  use(packs: Iterable<RemotePack>): Promise<void> {
    const wanted = new Map([...packs].map((pack) => [pack.pack, pack]));
    const turn = this.#turn.then(async () => {
      await this.#kept.fetchMissing([...wanted.values()]);
      const next = await nextView(this.#kept, wanted, this.#view);
      const before = this.#view;
      this.#view = next;
      before.close(next);
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Keeps an index that is known to be right, so that it need not be fetched. @throws ImgstoreError `IO` */
  keep(pack: string, idx: Uint8Array): Promise<void> {
    return this.#kept.keep(pack, idx);
  }

  /** Removes the kept indexes of all packs but some. Who has one open reads on; what cannot be removed stays for the next time. @param packs their checksums */
  keepOnly(packs: ReadonlySet<string>): Promise<void> {
    return this.#kept.keepOnly(packs);
  }

  /** Fetches an index that is here already, to see whether the bucket's is whole. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `REMOTE_…` */
  async check(pack: RemotePack): Promise<void> {
    await mkdir(this.#kept.folder, { recursive: true });
    await this.#kept.fetch(pack);
  }

  find(id: ObjectId): RemotePlace | undefined {
    return this.#view.find(id);
  }

  /** @param kind of the packs that are looked into; any when not given */
  has(id: ObjectId, kind?: PackKind): boolean {
    return this.#view.has(id, kind);
  }

  /** Whether the packs that are looked into have an object where whoever fetches looks for it: what leads to clusters in packs of maps only. */
  hasAs(id: ObjectId, kind: PackKind): boolean {
    return this.has(id, kind === 'maps' ? kind : undefined);
  }

  /** The index of one of the packs that are looked into. @throws ImgstoreError `DAMAGED` where what is kept is; the next time it is fetched. */
  of(pack: RemotePack): OpenIndex {
    return this.#view.of(pack);
  }

  /** Byte behind the entry that begins at an offset of a pack. */
  entryEnd(pack: RemotePack, offset: number): number {
    return this.#view.entryEnd(pack, offset);
  }

  close(): void {
    this.#view.close();
    this.#view = this.#nothing();
  }

  #nothing(): IndexView {
    return new IndexView(this.#kept, new Map(), [], new Map());
  }
}
