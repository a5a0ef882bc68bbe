import { type ImgstoreError, isImgstoreError } from '../errors/index.ts';
import { clustersPerSlot, type ObjectId, type ObjectType, readNode } from '../objects/index.ts';
import { findTips } from './history/tips.ts';
import { lostText, walkCommits } from './history/walk.ts';
import { ObjectMarks } from './objects/marks.ts';
import { type DamagedRef, MISSING_REMEDY, refWithKind } from './refs/damage.ts';
import { BRANCHES, shortRefName } from './refs/name.ts';
import { resolveCommit } from './revision/resolve.ts';
import type { Store } from './store.ts';
import { type StoredForm, StoredForms } from './stored-forms.ts';
import { ClusterCounter } from './version/count.ts';
import { dataBytes } from './version/data-bytes.ts';
import { clusterLength } from './version/disk-source.ts';
import { tryReadVersion, type Version, type VersionDisk } from './version/version.ts';

/** Bytes that clusters do not take. What is left of the logical bytes is what the clusters' entries take. */
export interface Savings {
  /** By storing equal clusters once: logical less unique bytes. */
  readonly dedup: number;
  /** By storing clusters as deltas: their bytes less those of the deltas. */
  readonly delta: number;
  /** By deflating clusters and deltas. */
  readonly compression: number;
}

/** One image's share. Bytes of guest data. */
export interface ImageStats {
  readonly name: string;
  readonly versions: number;
  /** Virtual sizes of all versions together. */
  readonly virtualBytes: number;
  /** Data in all versions together, as if each were kept by itself. */
  readonly logicalBytes: number;
  /** Data in different clusters: what deduplication leaves. */
  readonly uniqueBytes: number;
  readonly saved: Savings;
  /** What is wrong with the image, and what to do; its versions that cannot be read are not counted. */
  readonly damaged?: string;
}

/** What a store holds, and at what cost. */
export interface StoreStats extends Omit<ImageStats, 'name' | 'versions' | 'damaged'> {
  /** Bytes of all loose objects, packs and their indexes. */
  readonly storedBytes: number;
  readonly objects: Readonly<Record<ObjectType, number>>;
  /** Loose objects. */
  readonly loose: number;
  readonly packs: number;
  /** Objects that are stored as deltas. */
  readonly deltas: number;
  /** Objects in packs by the number of deltas that lead to them, from 0. */
  readonly chains: readonly number[];
  readonly images: readonly ImageStats[];
  /** What is wrong with objects whose kind cannot be read, if there are any; they are not among `objects`. */
  readonly damagedObjects?: readonly string[];
}

/**
 * Measures a store. Memory grows with the number of objects: some 30 bytes for each that is packed, 100 for each that is loose.
 * @param revisions whose versions count; all branches when empty. What is stored is always that of the whole store.
 * @throws ImgstoreError `NOT_FOUND` for an unknown revision
 */
export async function measureStore(store: Store, revisions: readonly string[] = []): Promise<StoreStats> {
  const { starts, damaged } = await findStarts(store, revisions);
  const counter = new ClusterCounter(store.objects.readTree);
  const forms = new StoredForms(store.objects);
  const images: ImageStats[] = [];
  const all = new Map<ObjectId, Version>();
  const whole = new UniqueClusters(store, forms);
  for (const { name, id, label } of starts) {
    const faults: string[] = [];
    const onFault = ({ message }: { readonly message: string }) => faults.push(message);
    const walk = walkCommits(store.objects, [id], (lost) => faults.push(lostText(lost)));
    const versions = [...walk].flatMap((walked) => tryReadVersion(store.objects, walked.id, onFault) ?? []);
    const unique = starts.length === 1 ? whole : new UniqueClusters(store, forms, whole);
    const bytes = withSavings(await measureVersions(store, versions, counter, onFault, unique), unique);
    for (const version of versions) all.set(version.id, version);
    images.push({ name, versions: versions.length, ...bytes, ...damage(label, faults) });
  }
  for (const { name, message } of damaged)
    images.push({ name: shortRefName(name), ...NOTHING, damaged: message });
  if (revisions.length === 0) images.sort((a, b) => (a.name < b.name ? -1 : 1));
  // What cannot be read was told of with its image.
  const total =
    images.length === 1
      ? images[0]!
      : withSavings(await measureVersions(store, [...all.values()], counter, () => {}), whole);
  const { virtualBytes, logicalBytes, uniqueBytes, saved } = total;
  return { virtualBytes, logicalBytes, uniqueBytes, saved, ...measureObjects(store, forms), images };
}

const NOTHING = {
  versions: 0,
  virtualBytes: 0,
  logicalBytes: 0,
  uniqueBytes: 0,
  saved: { dedup: 0, delta: 0, compression: 0 },
};

/** What is measured: a version with all before it, under the name that it was asked for by. */
interface Start {
  readonly name: string;
  readonly id: ObjectId;
  /** For messages. */
  readonly label: string;
}

async function findStarts(
  store: Store,
  revisions: readonly string[],
): Promise<{ starts: Start[]; damaged: readonly DamagedRef[] }> {
  if (revisions.length > 0) {
    const starts: Start[] = [];
    for (const name of revisions)
      starts.push({ name, id: await resolveCommit(store, name), label: `'${name}'` });
    return { starts, damaged: [] };
  }
  const { tips, damaged } = await findTips(store, BRANCHES);
  const starts = tips.map(({ name, id }) => ({ name: shortRefName(name), id, label: refWithKind(name) }));
  return { starts, damaged };
}

function damage(label: string, [fault]: readonly string[]): { readonly damaged?: string } {
  return fault === undefined ? {} : { damaged: `${label}: ${fault}: ${MISSING_REMEDY}` };
}

type VersionBytes = Pick<ImageStats, 'virtualBytes' | 'logicalBytes' | 'uniqueBytes' | 'saved'>;

/** @param unique where their different clusters are added up too */
async function measureVersions(
  store: Store,
  versions: readonly Version[],
  counter: ClusterCounter,
  onFault: (fault: ImgstoreError) => void,
  unique?: UniqueClusters,
): Promise<Pick<VersionBytes, 'virtualBytes' | 'logicalBytes'>> {
  let virtualBytes = 0;
  let logicalBytes = 0;
  for (const disk of versions.flatMap((version) => version.disks)) {
    virtualBytes += disk.virtualSize;
    try {
      logicalBytes += await dataBytes(store.objects, disk, counter);
      await unique?.add(disk);
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      onFault(error);
    }
  }
  return { virtualBytes, logicalBytes };
}

function withSavings(
  { virtualBytes, logicalBytes }: Pick<VersionBytes, 'virtualBytes' | 'logicalBytes'>,
  unique: UniqueClusters,
): VersionBytes {
  const saved = {
    dedup: logicalBytes - unique.bytes,
    delta: unique.bytes - unique.inflatedBytes,
    compression: unique.inflatedBytes - unique.storedBytes,
  };
  return { virtualBytes, logicalBytes, uniqueBytes: unique.bytes, saved };
}

/** Adds up the different clusters of disks; a part of a map that two disks share is entered once. */
class UniqueClusters {
  bytes = 0;
  /** Bytes of the clusters, or of the deltas that stand for them. */
  inflatedBytes = 0;
  storedBytes = 0;
  readonly #store: Store;
  readonly #forms: StoredForms;
  readonly #nodes = new Set<ObjectId>();
  readonly #blobs: ObjectMarks;
  readonly #whole: UniqueClusters | undefined;

  /** @param whole of which these are a part: what is new here may be new there */
  constructor(store: Store, forms: StoredForms, whole?: UniqueClusters) {
    this.#store = store;
    this.#forms = forms;
    this.#blobs = new ObjectMarks(store.objects);
    this.#whole = whole;
  }

  async add(disk: VersionDisk): Promise<void> {
    if (disk.map.id !== undefined) await this.#enter(disk, disk.map.id, disk.map.levels, 0);
  }

  async #enter(disk: VersionDisk, id: ObjectId, level: number, first: number): Promise<void> {
    if (this.#nodes.has(id)) return;
    this.#nodes.add(id);
    const node = await readNode(this.#store.objects.readTree, id, level);
    for (const [slot, below] of node.entries()) {
      if (below === undefined) continue;
      const start = first + slot * clustersPerSlot(level);
      if (level > 1) {
        await this.#enter(disk, below, level - 1, start);
      } else {
        this.#count(below, clusterLength(disk, start));
      }
    }
  }

  #count(id: ObjectId, length: number): void {
    const place = this.#blobs.place(id);
    if (!this.#blobs.mark(id, place)) return;
    // Looked for once: that is most of the work.
    const form =
      place === undefined ? this.#forms.of(id, length) : this.#forms.at(place.pack, place.position);
    this.#add(length, form);
    const whole = this.#whole;
    if (whole === undefined || !whole.#blobs.mark(id, place)) return;
    whole.#add(length, form);
  }

  #add(length: number, form: StoredForm | undefined): void {
    this.bytes += length;
    // A cluster that is lost takes nothing, and nothing was saved.
    this.inflatedBytes += form?.inflated ?? length;
    this.storedBytes += form?.stored ?? length;
  }
}

type ObjectStats = Omit<StoreStats, keyof ImageStats | 'images'>;

function measureObjects(store: Store, forms: StoredForms): ObjectStats {
  const { loose, packs } = store.objects;
  const objects: Record<ObjectType, number> = { blob: 0, tree: 0, commit: 0, tag: 0 };
  const faults: ImgstoreError[] = [];
  let storedBytes = 0;
  let looseCount = 0;
  for (const id of loose.ids()) {
    const bytes = loose.fileSize(id);
    // Another process has packed it meanwhile.
    if (bytes === undefined) continue;
    try {
      objects[loose.header(id)?.type ?? 'blob']++;
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      faults.push(error);
    }
    storedBytes += bytes;
    looseCount++;
  }
  packs.refresh();
  const chains: number[] = [];
  for (const pack of packs.packs()) {
    const survey = forms.survey(pack);
    storedBytes += pack.fileBytes;
    faults.push(...survey.faults);
    for (let position = 0; position < pack.idx.count; position++) {
      const type = survey.type(position);
      if (type === undefined) continue;
      objects[type]++;
      const depth = survey.depth[position]!;
      chains[depth] = (chains[depth] ?? 0) + 1;
    }
  }
  const deltas = chains.reduce((sum, count, depth) => (depth > 0 ? sum + count : sum), 0);
  return {
    storedBytes,
    objects,
    loose: looseCount,
    packs: packs.packs().length,
    deltas,
    chains: Array.from(chains, (count) => count ?? 0),
    ...(faults.length > 0
      ? { damagedObjects: faults.map(({ message }) => `${message}: ${MISSING_REMEDY}`) }
      : {}),
  };
}
