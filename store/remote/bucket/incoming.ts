import { existsSync } from 'node:fs';
import { chmod, copyFile, link, mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromSystem, ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import { makeFolder, passPoint, sharePath, syncFile, syncFolder } from '../../../files/index.ts';
import { encodeRev, Pack, PackOrder } from '../../../pack/index.ts';
import { packName, type RemotePack } from '../../../remote/index.ts';
import { ObjectDatabase } from '../../objects/database.ts';
import { type Monitor, throwIfStopped } from '../../progress.ts';
import type { ClusterWorkers } from '../../workers/pool.ts';
import { verifyPack } from '../verify-pack.ts';
import type { BucketRemote } from './bucket-remote.ts';

/** git makes packs read-only. */
const PACK_MODE = 0o444;

/** In the order in which they are given their names: the index makes a pack visible. */
const ENDINGS = ['pack', 'rev', 'promisor', 'idx'] as const;

/** What a pack has that was checked; the index comes last. */
const WHOLE = ['pack', 'rev', 'idx'] as const;

/**
 * Packs that have come from a bucket, in a folder where nobody sees them: each is checked to the last object before it counts as here, and gets into the store only when all are. What an
 * interrupted fetch has left is gone on with.
 */
export class Incoming {
  readonly #remote: BucketRemote;
  readonly #workers: ClusterWorkers;
  readonly #monitor: Monitor;
  readonly #top: string;
  readonly #folder: string;
  readonly #objectsFolder: string;
  #objects: ObjectDatabase | undefined;
  #bytes = 0;

  /** @param folder where they are; it goes with {@link Incoming.clear} */
  constructor(
    remote: BucketRemote,
    workers: ClusterWorkers,
    monitor: Monitor,
    folder: string = remote.place.incoming,
  ) {
    this.#top = folder;
    this.#remote = remote;
    this.#workers = workers;
    this.#monitor = monitor;
    this.#objectsFolder = join(folder, 'objects');
    this.#folder = join(this.#objectsFolder, 'pack');
  }

  /** Bytes of packs that were fetched so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What has come so far. Valid until the next pack comes. */
  get objects(): ObjectDatabase {
    this.#objects ??= new ObjectDatabase(this.#objectsFolder);
    return this.#objects;
  }

  /** The folder of packs. */
  async folder(): Promise<string> {
    await makeFolder('pack', this.#folder, this.#remote.store.rules);
    return this.#folder;
  }

  /** Fetches a whole pack, unless it is here. @throws ImgstoreError `DAMAGED` when it is not what its index says, `NOT_FOUND`, `REMOTE_…`, `INTERRUPTED`, `IO`. */
  async fetch(row: RemotePack): Promise<void> {
    const stem = join(await this.folder(), `pack-${row.pack}`);
    if (WHOLE.every((ending) => existsSync(`${stem}.${ending}`))) return;
    const part = `${stem}.part`;
    await takeUp(stem, part);
    const resumed = await sizeOf(part);
    try {
      await this.#download(row, part, resumed <= row.bytes ? resumed : 0);
      await this.#check(row, stem, part);
    } catch (error) {
      if (!isImgstoreError(error, 'DAMAGED')) throw error;
      await rm(part, { force: true });
      if (resumed === 0) throw this.#damaged(row, error);
      // What was here before may have been the damaged part.
      await this.#downloadAgain(row, stem, part);
    }
    this.#objects?.packs.refresh();
  }

  /** Gives packs to the store. @param packs their checksums, in the order in which readers may see them @throws ImgstoreError `IO`. */
  async install(packs: Iterable<string>, { promised = false } = {}): Promise<void> {
    const { store } = this.#remote;
    const to = store.objects.packs.folder;
    await mkdir(to, { recursive: true });
    this.close();
    for (const pack of packs) {
      const stem = join(this.#folder, `pack-${pack}`);
      if (promised) await writeFile(`${stem}.promisor`, '', { mode: PACK_MODE });
      for (const ending of ENDINGS) {
        if (ending === 'promisor' && !promised) continue;
        const target = join(to, `pack-${pack}.${ending}`);
        await this.#give(`${stem}.${ending}`, target);
      }
    }
    await syncFolder('pack', to);
    store.objects.packs.refresh();
  }

  /** Removes all that was fetched; what is in the store stays. */
  async clear(): Promise<void> {
    this.close();
    await rm(this.#top, { recursive: true, force: true });
  }

  /** Path without ending of a pack that was fetched. */
  stem({ pack }: RemotePack): string {
    return join(this.#folder, `pack-${pack}`);
  }

  /** Removes one pack that was fetched. */
  async drop({ pack }: RemotePack): Promise<void> {
    this.close();
    for (const ending of ENDINGS) await rm(join(this.#folder, `pack-${pack}.${ending}`), { force: true });
  }

  close(): void {
    this.#objects?.close();
    this.#objects = undefined;
  }

  /** Links where the file system can, so that what is installed is still here for a fetch that takes this one up. */
  async #give(from: string, to: string): Promise<void> {
    try {
      passPoint('pack.rename', to);
      await chmod(from, PACK_MODE);
      sharePath(from, this.#remote.store.rules.sharing);
      await link(from, to).catch(() => rename(from, to));
    } catch (error) {
      throw fromSystem(error, to);
    }
  }

  async #downloadAgain(row: RemotePack, stem: string, part: string): Promise<void> {
    try {
      await this.#download(row, part, 0);
      await this.#check(row, stem, part);
    } catch (error) {
      if (!isImgstoreError(error, 'DAMAGED')) throw error;
      await rm(part, { force: true });
      throw this.#damaged(row, error);
    }
  }

  async #download(row: RemotePack, part: string, from: number): Promise<void> {
    const { bucket } = this.#remote;
    let handle: Awaited<ReturnType<typeof open>> | undefined;
    try {
      handle = await open(part, from === 0 ? 'w' : 'r+');
      let at = from;
      for await (const chunk of from < row.bytes ? bucket.read(packName(row), from) : []) {
        throwIfStopped(this.#monitor);
        passPoint('pack.write', part);
        if (at + chunk.length > row.bytes) throw this.#wrongSize(row);
        await handle.write(chunk, 0, chunk.length, at);
        at += chunk.length;
        this.#bytes += chunk.length;
        this.#monitor.onProgress?.({ done: this.#bytes, total: this.#bytes });
      }
      if (at !== row.bytes) throw this.#wrongSize(row);
      await handle.sync();
    } catch (error) {
      throw fromSystem(error, part);
    } finally {
      await handle?.close();
    }
  }

  async #check(row: RemotePack, stem: string, part: string): Promise<void> {
    const { idx, file } = this.#remote.indexes.of(row);
    // The pack is opened under the name that it is to have, and has no index yet that would make it visible.
    await rename(part, `${stem}.pack`);
    try {
      await copyFile(file.name, `${stem}.idx.part`);
      await syncFile('idx', `${stem}.idx.part`);
      const pack = new Pack(stem, { idx, file: { size: file.size, close: () => {} } });
      try {
        await verifyPack(pack, this.#workers, this.#monitor);
        const trailer = Buffer.alloc(32);
        pack.readInto(trailer, pack.entriesEnd);
        if (trailer.toString('hex') !== row.pack)
          throw new ImgstoreError('DAMAGED', `${pack.path}: is another pack`, { pack: row.pack });
        await writeFile(`${stem}.rev`, encodeRev(new PackOrder(pack).positions, trailer));
        await syncFile('rev', `${stem}.rev`);
      } finally {
        pack.close();
      }
    } catch (error) {
      await rename(`${stem}.pack`, part);
      throw error;
    }
    await rename(`${stem}.idx.part`, `${stem}.idx`);
  }

  #wrongSize({ pack, bytes }: RemotePack): ImgstoreError {
    return new ImgstoreError('DAMAGED', `${pack}: has not the ${bytes} bytes that the remote's list has`, {
      pack,
    });
  }

  #damaged(row: RemotePack, cause: ImgstoreError): ImgstoreError {
    const { pack } = row;
    const where = `${this.#remote.bucket.where}: ${packName(row)}`;
    return new ImgstoreError(
      'DAMAGED',
      `${where}: is damaged on the server: ${cause.message}: nothing was taken over`,
      { where, pack },
      cause,
    );
  }
}

/** A process that ended while it checked a pack has left it under its name, without an index. */
async function takeUp(stem: string, part: string): Promise<void> {
  await rm(`${stem}.idx`, { force: true });
  if (existsSync(`${stem}.pack`) && !existsSync(part)) await rename(`${stem}.pack`, part);
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}
