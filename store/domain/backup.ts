import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromSystem, ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { NbdSource } from '../../nbd/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { bitmapContext } from '../commit/nbd-bitmap.ts';
import type { HeldMoment, MomentOptions } from '../live/running-commit.ts';
import { ScratchFolder } from '../live/scratch.ts';
import { SpaceGuard } from '../live/space-guard.ts';
import { type BackupPlace, backupXml, bitmapOf, checkpointXml } from './backup-xml.ts';
import type { Checkpoints } from './checkpoints.ts';
import { type Domain, isRunning } from './domain.ts';
import type { HeldDisk } from './held-disk.ts';
import { asBusy, currentBackup, endBackup } from './job.ts';
import { isRefused, type Virsh } from './virsh.ts';

/** In which libvirt knows that QEMU or a backup has ended. */
const SETTLE_MS = 1000;
const POLL_MS = 50;

export interface BackupOptions extends MomentOptions {
  /** Said in the checkpoint. */
  readonly description: string;
}

/** Disks of a running domain as they were at one moment: a backup of libvirt in pull mode, read from QEMU's NBD server, and a checkpoint that begins with it. */
export class DomainBackup implements HeldMoment {
  readonly #virsh: Virsh;
  readonly #domain: Domain;
  readonly #checkpoints: Checkpoints;
  readonly #checkpoint: string;
  readonly #options: BackupOptions;
  readonly #scratch: ScratchFolder;
  readonly #sources: NbdSource[] = [];
  #disks: readonly HeldDisk[];
  #guard: SpaceGuard | undefined;

  private constructor(
    virsh: Virsh,
    domain: Domain,
    checkpoints: Checkpoints,
    disks: readonly HeldDisk[],
    scratch: ScratchFolder,
    options: BackupOptions,
  ) {
    this.#virsh = virsh;
    this.#domain = domain;
    this.#checkpoints = checkpoints;
    this.#checkpoint = checkpoints.newName();
    this.#disks = disks;
    this.#scratch = scratch;
    this.#options = options;
  }

  /** @throws ImgstoreError `LIBVIRT`, `BUSY`, `NBD`, `QMP` of the agent, `IO`; then the domain is as it was */
  static async begin(
    virsh: Virsh,
    domain: Domain,
    checkpoints: Checkpoints,
    disks: readonly HeldDisk[],
    options: BackupOptions,
  ): Promise<DomainBackup> {
    const scratch = await ScratchFolder.create(options);
    const backup = new DomainBackup(virsh, domain, checkpoints, disks, scratch, options);
    try {
      await backup.#begin();
      return backup;
    } catch (error) {
      const why = await backup.explain(error);
      await backup.release(undefined);
      throw why;
    }
  }

  /** A folder of the commit's own. */
  get folder(): string {
    return this.#scratch.path;
  }

  /** The disks, in order. */
  get disks(): readonly HeldDisk[] {
    return this.#disks;
  }

  /** As {@link disks}. */
  get sources(): readonly NbdSource[] {
    return this.#sources;
  }

  /** @throws ImgstoreError `LIBVIRT`, `IO` when what was read may not be of the moment */
  async refuseLost(): Promise<void> {
    if (this.#guard?.failure !== undefined) throw this.#guard.failure;
    const why = await this.#whyLost();
    if (why !== undefined) throw why;
  }

  /** What a failure comes from, where that is known better: the end of the backup cuts the connection. */
  async explain(error: unknown): Promise<unknown> {
    if (this.#guard?.failure !== undefined) return this.#guard.failure;
    if (!isImgstoreError(error, 'NBD')) return error;
    // The connection goes first, and libvirt knows of the end a moment later.
    for (const deadline = Date.now() + SETTLE_MS; Date.now() < deadline; await sleep(POLL_MS)) {
      const why = await this.#whyLost().catch(() => undefined);
      if (why !== undefined) return why;
    }
    return error;
  }

  /**
   * Ends the backup. What cannot be ended is a notice: the next commit does it.
   * @param commit the version that the disks were at the moment, from which on the checkpoint goes on; undefined when there is none
   */
  async release(commit: ObjectId | undefined): Promise<void> {
    this.#guard?.stop();
    for (const source of this.#sources) await source.close();
    // When it has stopped, the backup went with it, and the checkpoint is for the next commit.
    const runs = await this.#attempt(() => isRunning(this.#virsh, this.#domain));
    if (commit !== undefined) await this.#attempt(() => this.#keepCheckpoint(commit, runs === true));
    if (runs === true) {
      if (commit === undefined) await this.#attempt(() => this.#dropCheckpoint());
      await this.#attempt(async () => {
        if (await this.#isOurs()) await endBackup(this.#virsh, this.#domain);
      });
    }
    await this.#scratch.remove();
  }

  async #begin(): Promise<void> {
    this.#guard = await SpaceGuard.start(this.#scratch.path, () => this.#stop());
    const isIncremental = this.#disks.some(({ since }) => since !== undefined);
    try {
      await this.#beginOnce(1);
    } catch (error) {
      if (!isIncremental || !isRefused(error)) throw error;
      this.#options.onNotice(
        `its checkpoint is of no use, so all of the disks is read: ${(error as Error).message}`,
      );
      this.#disks = this.#disks.map((disk) => ({ ...disk, since: undefined }));
      await this.#beginOnce(2);
    }
    await this.#connect();
  }

  async #beginOnce(attempt: number): Promise<void> {
    const { path, socket } = this.#scratch;
    const options = await this.#files({ socket, folder: path, attempt });
    await this.#options.atOnce(async () => {
      try {
        await this.#virsh.run('backup-begin', { domain: this.#domain.uuid, ...options });
      } catch (error) {
        throw asBusy(error, this.#domain);
      }
    });
  }

  /** What virsh reads of files. */
  async #files(place: BackupPlace): Promise<{ backupxml: string; checkpointxml?: string }> {
    const all = this.#domain.disks;
    const backupxml = await this.#writeFile('backup.xml', await backupXml(this.#disks, all, place));
    if (this.#tracked.length === 0) return { backupxml };
    const { description } = this.#options;
    const text = await checkpointXml(this.#checkpoint, description, this.#disks, all);
    return { backupxml, checkpointxml: await this.#writeFile('checkpoint.xml', text) };
  }

  async #writeFile(name: string, text: string): Promise<string> {
    const path = join(this.#scratch.path, name);
    try {
      await writeFile(path, text, { mode: 0o600 });
    } catch (error) {
      throw fromSystem(error, path);
    }
    return path;
  }

  async #connect(): Promise<void> {
    for (const { disk, since, name } of this.#disks) {
      const location = { address: { path: this.#scratch.socket }, exportName: disk.target };
      const contexts = since === undefined ? [] : [bitmapContext(bitmapOf(disk.target))];
      const label = `domain ${this.#domain.name}: disk ${name}`;
      this.#sources.push(await NbdSource.open(location, { label, contexts }));
    }
  }

  get #tracked(): readonly HeldDisk[] {
    return this.#disks.filter(({ image }) => image.untracked === undefined);
  }

  async #keepCheckpoint(commit: ObjectId, runs: boolean): Promise<void> {
    if (this.#tracked.length > 0) await this.#checkpoints.record(this.#checkpoint, commit, this.#tracked);
    if (runs) await this.#checkpoints.deleteOthers(this.#checkpoint);
  }

  async #dropCheckpoint(): Promise<void> {
    if ((await this.#checkpoints.list()).includes(this.#checkpoint))
      await this.#checkpoints.delete(this.#checkpoint);
  }

  async #isOurs(): Promise<boolean> {
    return (await currentBackup(this.#virsh, this.#domain))?.socket === this.#scratch.socket;
  }

  async #whyLost(): Promise<ImgstoreError | undefined> {
    if (!(await isRunning(this.#virsh, this.#domain))) return this.#lost('it has stopped');
    if (!(await this.#isOurs())) return this.#lost('its backup was ended by somebody else');
    return undefined;
  }

  #lost(why: string): ImgstoreError {
    const { name } = this.#domain;
    return new ImgstoreError(
      'LIBVIRT',
      `domain ${name}: ${why} while its disks were read: nothing was stored: try again`,
      { domain: name },
    );
  }

  /** The guest must not wait for what cannot be copied any more. */
  #stop(): void {
    void endBackup(this.#virsh, this.#domain).catch(() => {});
    for (const source of this.#sources) void source.close();
  }

  async #attempt<T>(step: () => Promise<T>): Promise<T | undefined> {
    try {
      return await step();
    } catch (error) {
      this.#options.onNotice(`${(error as Error).message}: the next commit tries again`);
      return undefined;
    }
  }
}
