import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect, onTestFinished } from 'vitest';
import { commitDomain, type DomainCommitRequest } from '../../../store/index.ts';
import { qemuBytes, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { outcomeOf, type RunningOutcome, storedDisk } from '../live/outcome.ts';
import { newStore, type TestStore } from '../new-store.ts';
import { give, type Libvirt } from './libvirt.ts';

export const MIB = 2 ** 20;
const run = promisify(execFile);

/** A store, and a domain with disks of 4 MiB of which 1 MiB is data. */
export class DomainPlace {
  readonly made: TestStore;
  readonly libvirt: Libvirt;
  readonly name: string;
  readonly folder: string;
  readonly #uuid = randomUUID();
  readonly images: readonly string[];

  private constructor(made: TestStore, libvirt: Libvirt, name: string, images: readonly string[]) {
    this.made = made;
    this.libvirt = libvirt;
    this.name = name;
    this.folder = join(libvirt.folder, name);
    this.images = images;
  }

  /** @param disks number of them @param options of `qemu-img create` */
  static async create(libvirt: Libvirt, disks = 1, ...options: readonly string[]): Promise<DomainPlace> {
    const made = await newStore();
    const name = `vm${randomBytes(3).toString('hex')}`;
    const folder = join(libvirt.folder, name);
    mkdirSync(folder);
    give(folder);
    const images = Array.from({ length: disks }, (_, i) => join(folder, `${i}.qcow2`));
    for (const image of images) {
      await qemuImg('create', '-q', '-f', 'qcow2', ...options, image, '4M');
      await qemuIo(image, 'write -P 7 0 1M');
      give(image);
    }
    const place = new DomainPlace(made, libvirt, name, images);
    onTestFinished(async () => {
      await place.virsh('destroy').catch(() => '');
      await place.virsh('undefine', '--checkpoints-metadata').catch(() => '');
    });
    return place;
  }

  /** One that runs. @param disks number of them @param more elements of its `<devices>` */
  static async running(libvirt: Libvirt, disks = 1, more = ''): Promise<DomainPlace> {
    const place = await DomainPlace.create(libvirt, disks);
    await place.define(more);
    await place.start();
    return place;
  }

  /** `virsh COMMAND NAME …` */
  virsh(command: string, ...args: readonly string[]): Promise<string> {
    return this.libvirt.virsh(command, this.name, ...args);
  }

  /** Defines the domain, also anew. @param more elements of its `<devices>` @param disks in place of the usual @param top elements beside `<devices>` */
  async define(more = '', disks = this.#usualDisks(), top = ''): Promise<void> {
    const path = this.made.file('domain-to-define.xml');
    writeFileSync(
      path,
      `<domain type='qemu'><name>${this.name}</name><uuid>${this.#uuid}</uuid>${top}<memory unit='MiB'>32</memory>
      <os><type arch='x86_64' machine='pc'>hvm</type></os><devices>${disks}${more}</devices></domain>`,
    );
    await this.libvirt.virsh('define', path);
  }

  /** Starts the domain, which boots from the first disk, or stands still. */
  async start({ boot = false } = {}): Promise<void> {
    await this.virsh('start', ...(boot ? [] : ['--paused']));
  }

  async commit(request: Partial<DomainCommitRequest> = {}, notices: string[] = []): Promise<RunningOutcome> {
    const monitor = { onNotice: (text: string) => notices.push(text.replace(`domain ${this.name}: `, '')) };
    const which = { domain: this.name, connect: this.libvirt.uri };
    const result = await commitDomain(this.made.store, { ...which, ...request }, monitor);
    return outcomeOf(result, notices);
  }

  /** Commits, and fails unless the version is what the disks hold, while nobody writes. */
  async commitExactly(request: Partial<DomainCommitRequest> = {}): Promise<RunningOutcome> {
    const outcome = await this.commit(request);
    for (const i of this.images.keys())
      expect((await this.stored(outcome.commit, i)).equals(await this.bytes(i)), `disk ${i}`).toBe(true);
    await this.expectClean();
    return outcome;
  }

  /** Fails unless nothing of a commit is in the domain but a checkpoint. */
  async expectClean(): Promise<void> {
    expect(await this.virsh('domjobinfo')).toMatch(/^Job type:\s+None/);
    const checkpoints = await this.checkpoints();
    expect(checkpoints.length).toBeLessThanOrEqual(1);
    expect(this.recorded()).toEqual(checkpoints);
    expect(this.scratch()).toEqual([]);
  }

  /** Names of the checkpoints of imgstore. */
  async checkpoints(): Promise<string[]> {
    const names = await this.virsh('checkpoint-list', '--name');
    return names.split('\n').filter((name) => name.startsWith('imgstore-'));
  }

  /** Names of the checkpoints that the store knows. */
  recorded(): string[] {
    try {
      return readdirSync(join(this.made.path, 'imgstore', 'checkpoints')).sort();
    } catch {
      return [];
    }
  }

  /** The bytes of a disk of a version. */
  stored(commit: string, disk = 0): Promise<Buffer> {
    return storedDisk(this.made.store, commit, disk);
  }

  /** The bytes of a disk, while nobody writes. */
  async bytes(disk = 0): Promise<Buffer> {
    await this.io(disk, 'flush');
    const copy = this.made.file(`copy-${disk}`);
    await qemuImg('convert', '-U', '-O', 'qcow2', this.images[disk]!, copy);
    return qemuBytes(copy);
  }

  /** Runs a command of qemu-io on a virtio disk, as the guest's device would. */
  async io(disk: number, command: string): Promise<void> {
    const line = `qemu-io -d /machine/peripheral/virtio-disk${disk}/virtio-backend "${command}"`;
    const said = await this.virsh('qemu-monitor-command', '--hmp', line);
    if (said.trim() !== '') throw new Error(said);
  }

  /** Asks QEMU's monitor. */
  async qmp(execute: string, args: object): Promise<unknown> {
    const said = await this.virsh('qemu-monitor-command', JSON.stringify({ execute, arguments: args }));
    return (JSON.parse(said) as { return: unknown }).return;
  }

  /** Kills QEMU, and waits until libvirt knows. */
  async kill(): Promise<void> {
    const pid = this.pid();
    if (pid !== undefined) await run('kill', ['-9', String(pid)]).catch(() => {});
    while (!/shut off|crashed/.test(await this.virsh('domstate'))) await sleep(20);
  }

  /** Of QEMU. */
  pid(): number | undefined {
    try {
      return Number(readFileSync(this.pidFile, 'utf8'));
    } catch {
      return undefined;
    }
  }

  get pidFile(): string {
    return join(this.libvirt.folder, 'x0', 'libvirt', 'qemu', 'run', `${this.name}.pid`);
  }

  /** What there is of scratch files. */
  scratch(): string[] {
    return readdirSync(this.folder).filter((name) => name.startsWith('.imgstore-live'));
  }

  #usualDisks(): string {
    const letters = 'abcdefgh';
    return this.images
      .map(
        (image, i) =>
          `<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/><source file='${image}'/><target dev='vd${letters[i]}' bus='virtio'/><boot order='${i + 1}'/></disk>`,
      )
      .join('');
  }
}
