import { ImgstoreError } from '../../errors/index.ts';
import { isObject, isRefusal, type JsonObject, NbdSource, type QmpEvent } from '../../nbd/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { bitmapContext } from '../commit/nbd-bitmap.ts';
import type { BitmapChange, TrustedLive } from './bitmaps.ts';
import type { LiveDisk } from './find-disks.ts';
import type { ImageFile } from './image-file.ts';
import { cancelJobs, removeExports, removeNodes } from './leftovers.ts';
import type { Action, Monitor } from './monitor.ts';
import { isLiveName, liveName, scratchFileName } from './names.ts';
import type { HeldMoment, MomentOptions } from './running-commit.ts';
import { ScratchFolder } from './scratch.ts';
import { SpaceGuard } from './space-guard.ts';

/** A disk whose bytes of one moment are to be read. */
export interface HeldLive extends LiveDisk {
  readonly image: ImageFile;
  /** Which tells what must be read; undefined if nothing does. */
  readonly trusted: TrustedLive | undefined;
  /** Undefined of a disk that is not kept track of. */
  readonly change: BitmapChange | undefined;
}

export interface InstantOptions extends MomentOptions {
  /** Bytes that a bit of a bitmap stands for. */
  readonly granularity: number;
}

/**
 * Disks of a running machine as they were at one moment. Before the guest overwrites something QEMU copies it into a scratch
 * file (a backup job with `sync=none`), which lies over the disk and is exported by QEMU's NBD server.
 */
export class Instant implements HeldMoment {
  readonly #monitor: Monitor;
  readonly #disks: readonly HeldLive[];
  readonly #options: InstantOptions;
  readonly #sources: NbdSource[] = [];
  readonly #stopListening: () => void;
  #scratch: ScratchFolder | undefined;
  #guard: SpaceGuard | undefined;
  #isServing = false;
  #isHeld = false;
  #failure: ImgstoreError | undefined;

  private constructor(monitor: Monitor, disks: readonly HeldLive[], options: InstantOptions) {
    this.#monitor = monitor;
    this.#disks = disks;
    this.#options = options;
    this.#stopListening = monitor.client.onEvent((event) => this.#hear(event));
  }

  /** @throws ImgstoreError `QMP`, `NBD`, `IO`; then the machine is as it was */
  static async hold(monitor: Monitor, disks: readonly HeldLive[], options: InstantOptions): Promise<Instant> {
    const instant = new Instant(monitor, disks, options);
    try {
      await instant.#begin();
      return instant;
    } catch (error) {
      await instant.release(undefined);
      throw instant.explain(error);
    }
  }

  get disks(): readonly HeldLive[] {
    return this.#disks;
  }

  /** As {@link disks}. */
  get sources(): readonly NbdSource[] {
    return this.#sources;
  }

  /** Why the disks are not to be had any more as they were; undefined if they are. */
  get failure(): ImgstoreError | undefined {
    return this.#guard?.failure ?? this.#failure;
  }

  explain(error: unknown): unknown {
    return this.failure ?? error;
  }

  /** @throws ImgstoreError `QMP` when what was read may not be of the moment */
  async refuseLost(): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    const jobs = await this.#monitor.jobs();
    for (const [i, { name }] of this.#disks.entries()) {
      const job = jobs.find(({ id }) => id === liveName(i));
      if (job === undefined || job.error !== undefined || !['running', 'paused'].includes(job.status))
        throw this.#lost(name, job?.error);
    }
  }

  /**
   * Lets go of the disks, and takes out of the machine what was put into it. What cannot be taken out is a notice: the next commit does it.
   * @param commit the version that the disks were at the moment, from which on bitmaps go on; undefined when there is none
   */
  async release(commit: ObjectId | undefined): Promise<void> {
    this.#stopListening();
    this.#guard?.stop();
    const steps: (() => Promise<unknown>)[] = [
      () => removeExports(this.#monitor),
      () => Promise.all(this.#sources.map((source) => source.close())),
      async () => {
        if (this.#isServing) await this.#monitor.execute('nbd-server-stop');
      },
      async () => {
        if (this.#isHeld) await this.#changeBitmaps(commit);
      },
      () => cancelJobs(this.#monitor),
      () => removeNodes(this.#monitor),
    ];
    const { client } = this.#monitor;
    for (const step of steps) {
      try {
        if (client.ended === undefined) await step();
      } catch (error) {
        const left =
          client.ended === undefined
            ? 'what this commit has put into the machine stays there until the next one'
            : 'what it has kept of writes is lost, if it runs no more';
        this.#options.onNotice(`${(error as Error).message}: ${left}`);
      }
    }
    for (const source of this.#sources) await source.close();
    await this.#scratch?.remove();
  }

  async #begin(): Promise<void> {
    this.#scratch = await ScratchFolder.create(this.#options);
    for (const [i, disk] of this.#disks.entries()) await this.#addScratch(i, disk);
    this.#guard = await SpaceGuard.start(this.#scratch.path, () => this.#stopAll());
    await this.#options.atOnce(async () => {
      await this.#holdAll();
      this.#isHeld = true;
    });
    await this.#serve();
  }

  async #addScratch(i: number, { name, node }: HeldLive): Promise<void> {
    const { granularity } = this.#options;
    const path = await this.#scratch!.addFile(name, { size: node.size, granularity });
    const file = { driver: 'file', 'node-name': scratchFileName(i), filename: path };
    await this.#monitor.execute('blockdev-add', {
      driver: 'qcow2',
      'node-name': liveName(i),
      file,
      backing: node.name,
    });
  }

  /** What cannot be kept must not fail the guest's own write, where QEMU (10.1) can do that. */
  async #holdAll(): Promise<void> {
    const hold = (options: JsonObject) =>
      this.#monitor.transaction(this.#disks.flatMap((disk, i) => this.#beginning(i, disk, options)));
    try {
      await hold({ 'on-cbw-error': 'break-snapshot' });
    } catch (error) {
      if (!isRefusal(error) || !/on-cbw-error'? is unexpected/.test((error as Error).message)) throw error;
      await hold({});
    }
  }

  #beginning(i: number, { node, change }: HeldLive, options: JsonObject): Action[] {
    const backup = {
      'job-id': liveName(i),
      device: node.name,
      target: liveName(i),
      sync: 'none',
      'auto-dismiss': false,
      ...options,
    };
    return [
      ...(change?.begin(liveName(i), this.#options.granularity) ?? []),
      { type: 'blockdev-backup', data: backup },
    ];
  }

  async #serve(): Promise<void> {
    const { socket } = this.#scratch!;
    try {
      await this.#monitor.execute('nbd-server-start', { addr: { type: 'unix', data: { path: socket } } });
    } catch (error) {
      const why = (error as Error).message;
      if (!/already running/.test(why)) throw error;
      throw new ImgstoreError(
        'IN_USE',
        `${why}: another program uses it, which has one at a time: end that, or run nbd-server-stop in the monitor`,
        { monitor: this.#monitor.label },
        error,
      );
    }
    this.#isServing = true;
    for (const [i, { name, trusted }] of this.#disks.entries()) {
      await this.#monitor.execute('block-export-add', {
        type: 'nbd',
        id: liveName(i),
        'node-name': liveName(i),
        name,
        ...(trusted === undefined ? {} : { bitmaps: [trusted.bitmap.name] }),
      });
      const contexts = trusted === undefined ? [] : [bitmapContext(trusted.bitmap.name)];
      const label = `${this.#monitor.label}: disk ${name}`;
      const location = { address: { path: socket }, exportName: name };
      this.#sources.push(await NbdSource.open(location, { label, contexts }));
    }
  }

  async #changeBitmaps(commit: ObjectId | undefined): Promise<void> {
    const { granularity, onNotice } = this.#options;
    const nodes = await this.#monitor.nodes();
    const changes = this.#disks.flatMap(({ node, change, image }) => {
      const found = nodes.find(({ name }) => name === node.name)?.bitmaps;
      const { place } = image;
      return change === undefined || found === undefined || place === undefined
        ? []
        : [{ change, found, place }];
    });
    if (commit !== undefined) {
      try {
        await this.#monitor.transaction(changes.flatMap(({ change, found }) => change.clearOthers(found)));
        await this.#monitor.transaction(
          changes.flatMap(({ change, place }) => change.finish(commit, place, granularity)),
        );
        return;
      } catch (error) {
        onNotice(`the next commit will read all of the disks: ${(error as Error).message}`);
      }
    }
    await this.#monitor.transaction(changes.flatMap(({ change, found }) => change.undo(found)));
  }

  /** The guest must not wait for what cannot be copied any more. */
  #stopAll(): void {
    for (const i of this.#disks.keys())
      void this.#monitor.execute('job-cancel', { id: liveName(i) }).catch(() => {});
    for (const source of this.#sources) void source.close();
  }

  #hear({ name, data }: QmpEvent): void {
    if (name !== 'JOB_STATUS_CHANGE' || !this.#isHeld || !isObject(data)) return;
    const { id, status } = data;
    if (typeof id !== 'string' || !isLiveName(id) || status !== 'aborting') return;
    this.#failure ??= this.#lost(this.#disks.find((_, i) => liveName(i) === id)?.name ?? id, undefined);
    for (const source of this.#sources) void source.close();
  }

  #lost(disk: string, why: string | undefined): ImgstoreError {
    const reason = why === undefined ? 'QEMU has ended the job' : `QEMU says ${why}`;
    return new ImgstoreError(
      'QMP',
      `${this.#monitor.label}: disk ${disk}: how it was at the moment could not be kept: ${reason}: nothing was stored: see that the folder for scratch files has room, and try again`,
      { disk },
    );
  }
}
