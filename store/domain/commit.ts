import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromSystem, ImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { Attachment } from '../commit/attachments.ts';
import { bitmapContext } from '../commit/nbd-bitmap.ts';
import { type CommitResult, type NamedDisk, refuseBadNames } from '../commit/store-version.ts';
import type { NamedNode } from '../live/find-disks.ts';
import { type ImageFile, lookAtImage } from '../live/image-file.ts';
import { isThere } from '../live/is-there.ts';
import { knownLive, openLiveDisk } from '../live/live-disk.ts';
import { isSafeWithThreads, threadRefusal } from '../live/refuse-threads.ts';
import { type RunningCommitRequest, storeMoment } from '../live/running-commit.ts';
import { scratchPlace } from '../live/scratch.ts';
import { originKey } from '../origin/key.ts';
import type { Monitor as Watcher } from '../progress.ts';
import { BRANCHES, branchFromFile, fullRefName } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { DomainBackup } from './backup.ts';
import { bitmapOf } from './backup-xml.ts';
import { Checkpoints } from './checkpoints.ts';
import { type ChosenDisk, chooseDisks, refuseShutOff } from './choose-disks.ts';
import { type Domain, findDomain } from './domain.ts';
import { thawDomain, whileDomainFrozen } from './freeze.ts';
import type { HeldDisk } from './held-disk.ts';
import { endLeftBackup } from './job.ts';
import { Virsh } from './virsh.ts';

/** How to make a version of a domain of libvirt. */
export interface DomainCommitRequest extends RunningCommitRequest {
  /** Its name, id or UUID. */
  readonly domain: string;
  /** Of libvirt, as `virsh --connect` has it. */
  readonly connect?: string | undefined;
  /** By target or path; all that the guest can write to when none is named. */
  readonly nodes?: readonly NamedNode[] | undefined;
  /** Freezes the guest's file systems when its agent is connected; true if not said. */
  readonly freeze?: boolean | undefined;
  /** The domain's name when not given. */
  readonly branch?: string | undefined;
}

/** What is attached to every version. */
const DOMAIN_FILE = 'domain.xml';

/**
 * Stores a version of a domain of libvirt while it runs: all its disks as they were at one moment, by a backup of libvirt in pull mode. Of a qcow2 only what was written since
 * the last version is read, by a checkpoint of libvirt.
 * @throws ImgstoreError `LIBVIRT`, `NOT_FOUND`, `BUSY` while libvirt has another job with it, `USAGE` when it does not run, `QMP`, `NBD`, and what `commitVersion` throws
 */
export async function commitDomain(
  store: Store,
  request: DomainCommitRequest,
  watcher: Watcher = {},
): Promise<CommitResult> {
  const started = performance.now();
  const virsh = Virsh.find(request.connect);
  const domain = await findDomain(virsh, request.domain);
  const result = await new DomainCommit(store, request, watcher, virsh, domain).run();
  return { ...result, seconds: (performance.now() - started) / 1000 };
}

/** One commit of a domain. */
class DomainCommit {
  readonly #store: Store;
  readonly #request: DomainCommitRequest;
  readonly #watcher: Watcher;
  readonly #virsh: Virsh;
  readonly #domain: Domain;

  constructor(store: Store, request: DomainCommitRequest, watcher: Watcher, virsh: Virsh, domain: Domain) {
    this.#store = store;
    this.#request = request;
    this.#watcher = watcher;
    this.#virsh = virsh;
    this.#domain = domain;
  }

  async run(): Promise<Omit<CommitResult, 'seconds'>> {
    const [store, request, domain] = [this.#store, this.#request, this.#domain];
    const branch = request.branch ?? branchFromFile(`${domain.name}.xml`);
    const ref = fullRefName(BRANCHES, branch);
    const chosen = chooseDisks(domain, request.nodes ?? [], (notice) => this.#notice(notice));
    refuseShutOff(domain, chosen, branch);
    refuseBadNames(chosen, request.attachments);
    await this.#refuseThreads(chosen);
    const message = request.message ?? `Store ${domain.name}`;
    const steps = {
      hold: async (tip: ObjectId | undefined) => {
        await this.#endLeftovers();
        return this.#begin(chosen, ref, tip);
      },
      open: (backup: DomainBackup) => this.#open(backup),
      attach: (backup: DomainBackup) => this.#attachments(backup.folder),
    };
    return storeMoment(store, { ...request, ref, message }, steps, this.#watcher);
  }

  /** @throws ImgstoreError `UNSUPPORTED`, `LIBVIRT` */
  async #refuseThreads(chosen: readonly ChosenDisk[]): Promise<void> {
    const threaded = chosen.find(({ disk }) => disk.hasThread);
    if (threaded === undefined) return;
    const said = await this.#virsh.run('version');
    const [, major, minor] = /^Running hypervisor: QEMU (\d+)\.(\d+)/m.exec(said) ?? [];
    const version = [Number(major ?? 0), Number(minor ?? 0)] as const;
    if (isSafeWithThreads(version)) return;
    const label = `domain ${this.#domain.name}`;
    throw threadRefusal(label, threaded.name, version, 'take iothread= from its <driver>');
  }

  async #endLeftovers(): Promise<void> {
    const wasKilled = await endLeftBackup(this.#virsh, this.#domain);
    if (wasKilled && this.#mayFreeze)
      await thawDomain(this.#virsh, this.#domain, (notice) => this.#notice(notice));
  }

  async #begin(chosen: readonly ChosenDisk[], ref: string, tip: ObjectId | undefined): Promise<DomainBackup> {
    const [virsh, domain, store] = [this.#virsh, this.#domain, this.#store];
    const key = await originKey(store);
    if (key === undefined)
      throw new ImgstoreError('IO', `${store.folder}: the store cannot be written to`, {});
    const checkpoints = new Checkpoints(virsh, store, key, domain, ref);
    const names = await checkpoints.list();
    const disks: HeldDisk[] = [];
    for (const each of chosen) disks.push(await this.#look(each, checkpoints, names, tip));
    const place = await scratchPlace(disks, this.#request.scratch, `domain ${domain.name}`);
    const onNotice = (notice: string) => this.#notice(notice);
    return DomainBackup.begin(virsh, domain, checkpoints, disks, {
      ...place,
      description: `imgstore keeps track of branch ${ref.slice(BRANCHES.length)} by this`,
      atOnce: (begin) => (this.#mayFreeze ? whileDomainFrozen(virsh, domain, begin, onNotice) : begin()),
      onNotice,
    });
  }

  async #look(
    { name, disk }: ChosenDisk,
    checkpoints: Checkpoints,
    names: readonly string[],
    tip: ObjectId | undefined,
  ): Promise<HeldDisk> {
    const image = await this.#lookAt(disk);
    if (image.untracked !== undefined) {
      this.#notice(`disk ${name}: the next commit will read all of it: ${image.untracked}`);
      return { name, disk, image, since: undefined };
    }
    const since = await checkpoints.trusted(name, names, image, tip);
    if (typeof since !== 'string') return { name, disk, image, since };
    this.#doubt(name, since);
    return { name, disk, image, since: undefined };
  }

  async #lookAt({ path, format, backing }: ChosenDisk['disk']): Promise<ImageFile> {
    const none = { path: undefined, facts: { format }, place: undefined };
    if (path === undefined) return { ...none, untracked: 'it is no file of this machine' };
    const { allowBacking } = this.#request;
    const canTrack = format === 'qcow2';
    const image = await lookAtImage({ file: path, driver: format, backing, canTrack }, allowBacking);
    // Where locks do not show who has a file, it is there all the same.
    return image.path === undefined && (await isThere(path)) ? { ...image, path } : image;
  }

  async #open(backup: DomainBackup): Promise<NamedDisk[]> {
    const named: NamedDisk[] = [];
    for (const [i, { name, disk, image, since }] of backup.disks.entries()) {
      const source = backup.sources[i]!;
      const open = openLiveDisk(disk.path ?? name, source, image.facts, () => backup.refuseLost());
      const bitmap = since && { trusted: since, name: bitmapContext(bitmapOf(disk.target)) };
      const known = await knownLive(this.#store, source, bitmap, (doubt) => this.#doubt(name, doubt));
      named.push({ name, disk: open, known });
    }
    return named;
  }

  /** With what libvirt would start the domain from the next time, which says nothing of this run. */
  async #attachments(folder: string): Promise<readonly Attachment[]> {
    const given = this.#request.attachments ?? [];
    if (given.some(({ name }) => name === DOMAIN_FILE)) return given;
    const path = join(folder, DOMAIN_FILE);
    const text = await this.#virsh.run('dumpxml', { domain: this.#domain.uuid, inactive: true });
    try {
      await writeFile(path, text, { mode: 0o600 });
    } catch (error) {
      throw fromSystem(error, path);
    }
    return [...given, { name: DOMAIN_FILE, path }];
  }

  get #mayFreeze(): boolean {
    return this.#domain.hasAgent && (this.#request.freeze ?? true);
  }

  #doubt(disk: string, why: string): void {
    this.#notice(`disk ${disk}: its checkpoint is not trusted, so all of it is read: ${why}`);
  }

  #notice(text: string): void {
    this.#watcher.onNotice?.(`domain ${this.#domain.name}: ${text}`);
  }
}
