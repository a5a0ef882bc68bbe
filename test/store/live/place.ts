import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect } from 'vitest';
import { commitMachine, type LiveCommitRequest } from '../../../store/index.ts';
import { qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { newStore, type TestStore } from '../new-store.ts';
import { Machine, type MachineOptions } from './machine.ts';
import { outcomeOf, type RunningOutcome, storedDisk } from './outcome.ts';

export const MIB = 2 ** 20;

/** A store and disks of 4 MiB with 1 MiB of data, which a machine may run from. */
export class LivePlace {
  readonly made: TestStore;
  readonly images: readonly string[];
  readonly folder: string;

  private constructor(made: TestStore, images: readonly string[]) {
    this.made = made;
    this.images = images;
    this.folder = dirname(images[0]!);
  }

  static async create(names: readonly string[] = ['vm'], ...options: readonly string[]): Promise<LivePlace> {
    const made = await newStore();
    const images = names.map((name) => made.file(`${name}.qcow2`));
    for (const image of images) {
      await qemuImg('create', '-q', '-f', 'qcow2', ...options, image, '4M');
      await qemuIo(image, 'write -P 7 0 1M');
    }
    return new LivePlace(made, images);
  }

  start(options: MachineOptions = {}): Promise<Machine> {
    return Machine.start(this.folder, this.images, options);
  }

  async commit(
    machine: Pick<Machine, 'qmp'>,
    request: Partial<LiveCommitRequest> = {},
  ): Promise<RunningOutcome> {
    const notices: string[] = [];
    const monitor = { onNotice: (notice: string) => notices.push(notice.replace(`${machine.qmp}: `, '')) };
    const result = await commitMachine(this.made.store, { qmp: machine.qmp, ...request }, monitor);
    return outcomeOf(result, notices);
  }

  /** The bytes of a disk of a version. */
  stored(commit: string, disk = 0): Promise<Buffer> {
    return storedDisk(this.made.store, commit, disk);
  }

  /** Commits, and fails unless the version is what the disks hold, while nobody writes. */
  async commitExactly(machine: Machine, request: Partial<LiveCommitRequest> = {}): Promise<RunningOutcome> {
    const outcome = await this.commit(machine, request);
    for (const i of machine.images.keys())
      expect((await this.stored(outcome.commit, i)).equals(await machine.bytes(i)), `disk ${i}`).toBe(true);
    await machine.expectClean();
    expect(this.scratch()).toEqual([]);
    return outcome;
  }

  /** Commits, and ends the machine, which saves its bitmaps. */
  async saveBitmap(): Promise<RunningOutcome> {
    const machine = await this.start();
    const outcome = await this.commitExactly(machine);
    await machine.quit();
    return outcome;
  }

  /** What there is of scratch files. */
  scratch(): string[] {
    return readdirSync(this.folder).filter((name) => name.startsWith('.imgstore-live'));
  }
}
