import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { counted, ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import { MIDX_FILE, type PendingPack, removeMidx } from '../../../pack/index.ts';
import type { OpenDiskOptions } from '../../commit/disk.ts';
import { refreshMultiPackIndex } from '../../pack/multi-pack-index.ts';
import { takePackLock } from '../../pack/pack-lock.ts';
import type { Monitor } from '../../progress.ts';
import type { Store } from '../../store.ts';
import { type Examination, examineStore } from '../examine.ts';
import type { PackSource } from '../pack-source.ts';
import type { FsckReport } from '../report.ts';
import { Aside } from './aside.ts';
import { healFromImage } from './heal.ts';
import { healFromRemote, remoteMeant } from './heal-from-remote.ts';
import { NewPacks } from './new-packs.ts';
import { repairRefs } from './refs.ts';
import { salvagePack } from './salvage.ts';
import { searchAside } from './search-aside.ts';
import { rebuildIndexes, rebuildRev } from './side-files.ts';

export interface RepairRequest extends OpenDiskOptions {
  /** Images, exports, block devices, or names of remotes, that may hold what is lost. */
  readonly from?: readonly string[] | undefined;
}

export interface RepairReport extends FsckReport {
  /** What was done, one line each. */
  readonly repaired: readonly string[];
  /** Objects that were lost and are here again, out of images. */
  readonly healed: number;
  /** The folder with the damaged files as they were; undefined when none had to go. */
  readonly aside: string | undefined;
}

/** What a tree that came back leads to may be lost as well, a level a round. */
const MOST_ROUNDS = 10;

/**
 * Repairs what a check finds: brings lost objects back from images, writes what is whole in damaged packs into new ones, rebuilds indexes, and puts refs at the
 * last version of their logs that can be read. New copies are durable and visible before damaged files go aside; nothing is removed.
 * @throws ImgstoreError `BUSY` when another process packs this store, `IO`, `INTERRUPTED`, and what opening and reading an image throws
 */
export async function repairStore(
  store: Store,
  request: RepairRequest = {},
  monitor: Monitor = {},
): Promise<RepairReport> {
  const lock = await takePackLock(store);
  const repair = new Repair(store, request, monitor);
  try {
    return await repair.run();
  } catch (error) {
    if (!isImgstoreError(error, 'INTERRUPTED') || !repair.hasChanged) throw error;
    const message =
      'interrupted: what was repaired by then stays: run imgstore fsck --repair again for the rest';
    throw new ImgstoreError('INTERRUPTED', message, {}, error);
  } finally {
    await lock.release();
  }
}

class Repair {
  readonly #store: Store;
  readonly #request: RepairRequest;
  readonly #monitor: Monitor;
  readonly #aside: Aside;
  readonly #done: string[] = [];
  #healed = 0;

  constructor(store: Store, request: RepairRequest, monitor: Monitor) {
    this.#store = store;
    this.#request = request;
    this.#monitor = monitor;
    this.#aside = new Aside(store.folder, store.rules);
  }

  get hasChanged(): boolean {
    return this.#done.length > 0;
  }

  async run(): Promise<RepairReport> {
    let report: FsckReport | undefined;
    for (let round = 1; round <= MOST_ROUNDS; round++) {
      // What every later round could find by reading all again, the first has found.
      const examination = await examineStore(this.#store, round > 1, this.#monitor);
      try {
        report = round === 1 ? examination.report : report;
        if (examination.report.clean || !(await this.#round(examination))) break;
      } finally {
        examination.close();
        // Indexes have changed under what is open.
        this.#store.objects.packs.close();
      }
    }
    if (!report!.clean) await this.#refs();
    if (this.#done.length > 0) report = await this.#examine();
    const aside = this.#aside.used ? this.#aside.folder : undefined;
    return { ...report!, repaired: this.#done, healed: this.#healed, aside };
  }

  /** Does all that can be done about what is known. Returns whether anything was. */
  async #round(examination: Examination): Promise<boolean> {
    const before = this.#done.length;
    await this.#rebuildMissingIndexes(examination);
    await this.#heal(examination);
    await this.#replacePacks(examination);
    await this.#rebuildIndexes(examination);
    await this.#setFilesAside(examination);
    return this.#done.length > before;
  }

  async #examine(): Promise<FsckReport> {
    const examination = await examineStore(this.#store, false, this.#monitor);
    examination.close();
    return examination.report;
  }

  /** Packs that hold something missing and have no index. */
  async #rebuildMissingIndexes({ report }: Examination): Promise<void> {
    for (const { path, kind } of report.files) {
      if (kind !== 'idx' || !path.endsWith('.pack')) continue;
      await rebuildIndexes(path.slice(0, -'.pack'.length), this.#aside);
      this.#done.push(`${path}: has an index again`);
    }
    this.#store.objects.packs.refresh();
  }

  /** Takes lost objects out of images, and objects whose only whole copy is in a damaged file out of that. */
  async #heal({ report, findings, walk }: Examination): Promise<void> {
    const packs = new NewPacks(this.#store);
    try {
      for (const { id, place } of findings.copies.filter((copy) => copy.kind === 'stored')) {
        if (place.source !== undefined) continue;
        const object = walk.finder.read(id);
        if (object !== undefined) await packs.addData(id, object.type, object.data);
      }
      const rescued = packs.count;
      const wanted = new Set<ObjectId>(report.missing.map(({ id }) => id));
      for (const { id, lost } of report.damaged)
        if (lost && walk.finder.find(id)?.object === undefined) wanted.add(id);
      for (const path of this.#request.from ?? []) {
        if (wanted.size === 0) break;
        const remote = remoteMeant(this.#store, path);
        const count =
          remote === undefined
            ? await healFromImage(this.#store, path, this.#request, wanted, packs, this.#monitor)
            : await healFromRemote(this.#store, remote, wanted, packs, this.#monitor);
        if (count > 0) this.#done.push(`${lostObjects(count)} stored again from ${path}`);
      }
      await packs.publish();
      this.#healed += packs.count - rescued;
      await this.#healFromAside(wanted);
    } finally {
      await packs.discard();
    }
  }

  async #healFromAside(wanted: Set<ObjectId>): Promise<void> {
    const packs = new NewPacks(this.#store);
    try {
      await searchAside(this.#store, wanted, packs);
      await packs.publish();
      if (packs.count > 0) this.#done.push(`${lostObjects(packs.count)} back from packs that were set aside`);
      this.#healed += packs.count;
    } finally {
      await packs.discard();
    }
  }

  /** Writes what is whole in damaged packs into new ones, and moves the old ones out of the way. */
  async #replacePacks(examination: Examination): Promise<void> {
    const { report, sources } = examination;
    const damaged = new Set(report.files.filter(({ kind }) => kind === 'pack').map(({ path }) => path));
    for (const { place } of examination.findings.copies)
      if (place.source !== undefined) damaged.add(place.source.pack.path);
    const old = sources.packs.filter(({ pack }) => damaged.has(pack.path));
    const salvaged: { readonly source: PackSource; readonly pending: PendingPack | undefined }[] = [];
    try {
      for (const source of old) {
        const { pending, objects } = await salvagePack(this.#store, source.pack);
        salvaged.push({ source, pending });
        this.#done.push(
          `${source.pack.path}: ${objects} of ${source.pack.idx.count} objects are in a new pack`,
        );
      }
      for (const { source, pending } of salvaged) await this.#publish(source, pending);
    } finally {
      for (const { pending } of salvaged) await pending?.discard();
    }
    const isMidxDamaged = report.files.some(({ kind }) => kind === 'midx');
    if (isMidxDamaged || old.length > 0) await this.#removeMidx(isMidxDamaged);
    const leaving = salvaged.flatMap(({ source, pending }) =>
      source.stem === stemOf(this.#store, pending) ? [] : [source],
    );
    this.#requireKept(examination, leaving);
    for (const { stem } of leaving) await this.#setPackAside(stem);
    this.#store.objects.packs.close();
  }

  async #publish({ stem }: PackSource, pending: PendingPack | undefined): Promise<void> {
    // Of a pack of which nothing was lost but its frame, the new one has the name, and takes the place.
    if (stem === stemOf(this.#store, pending))
      for (const ending of ['pack', 'idx', 'rev']) await this.#aside.keep(`${stem}.${ending}`);
    await pending?.publish();
  }

  /** Nothing that can be read may go. @throws ImgstoreError `DAMAGED` when it would */
  #requireKept({ inventory }: Examination, leaving: readonly PackSource[]): void {
    const { packs, loose } = this.#store.objects;
    packs.close();
    const stems = new Set(leaving.map(({ stem }) => stem));
    const stay = packs.packs().filter(({ stem }) => !stems.has(stem));
    for (const { pack } of leaving)
      for (let position = 0; position < pack.idx.count; position++) {
        const id = pack.idx.id(position);
        if (inventory.find(id)?.object === undefined) continue;
        if (stay.some(({ idx }) => idx.find(id) !== undefined) || loose.hasWhole(id)) continue;
        throw new ImgstoreError(
          'DAMAGED',
          `${pack.path}: object ${id} is not in the new pack: the old one stays; check the disk, and repair again`,
          { path: pack.path, id },
        );
      }
  }

  /** The index goes first: a pack without one is seen by nobody. */
  async #setPackAside(stem: string): Promise<void> {
    for (const ending of ['idx', 'rev', 'bitmap', 'mtimes', 'keep', 'promisor', 'pack'])
      await this.#aside.move(`${stem}.${ending}`);
  }

  async #removeMidx(isDamaged: boolean): Promise<void> {
    const { folder } = this.#store.objects.packs;
    if (!existsSync(join(folder, MIDX_FILE))) return;
    await this.#aside.keep(join(folder, MIDX_FILE));
    await removeMidx(folder, this.#store.rules);
    if (isDamaged) this.#done.push(`${join(folder, MIDX_FILE)}: made anew`);
  }

  /** Of packs that are whole themselves. */
  async #rebuildIndexes({ report, sources }: Examination): Promise<void> {
    for (const { path, kind } of report.files) {
      const source = sources.packs.find(({ stem }) => path === `${stem}.${kind}`);
      if (source === undefined || !existsSync(path) || (kind !== 'idx' && kind !== 'rev')) continue;
      if (kind === 'idx') await rebuildIndexes(source.stem, this.#aside);
      else await rebuildRev(source, this.#aside);
      this.#done.push(`${path}: made anew`);
    }
    this.#store.objects.packs.close();
    await refreshMultiPackIndex(this.#store, []);
  }

  /** What only git reads it makes again; damaged loose objects have whole copies by now, or are lost. */
  async #setFilesAside({ report, findings, sources }: Examination): Promise<void> {
    const gitOnly = report.files.filter(({ path, kind }) => {
      const isCompanion = kind === 'rev' && path.includes('multi-pack-index-');
      return isCompanion || kind === 'bitmap' || kind === 'commit-graph' || kind === 'mtimes';
    });
    const loose = findings.copies.filter(({ place }) => place.source === undefined);
    const packless = sources.packless.filter((stem) => !existsSync(`${stem}.pack`));
    for (const path of [...gitOnly.map((file) => file.path), ...packless.map((stem) => `${stem}.idx`)])
      await this.#setFileAside(path);
    // A commit may have stored one anew since it was looked at.
    for (const { id, kind } of loose)
      if (kind === 'stored' || !this.#store.objects.loose.hasWhole(id))
        await this.#setFileAside(this.#store.objects.loose.path(id));
  }

  async #setFileAside(path: string): Promise<void> {
    if (!existsSync(path)) return;
    await this.#aside.move(path);
    this.#done.push(`${path}: set aside`);
  }

  async #refs(): Promise<void> {
    const examination = await examineStore(this.#store, true, this.#monitor);
    try {
      this.#done.push(...(await repairRefs(this.#store, examination, this.#aside)));
    } finally {
      examination.close();
    }
  }
}

function stemOf({ objects }: Store, pending: PendingPack | undefined): string | undefined {
  return pending === undefined ? undefined : join(objects.packs.folder, `pack-${pending.checksum}`);
}

function lostObjects(count: number): string {
  return counted(count, 'lost object is', 'lost objects are');
}
