import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { QmpClient } from '../../../nbd/index.ts';
import { qemuBytes, qemuImg } from '../../qcow2/qemu.ts';

export interface MachineOptions {
  /** Starts the guest, which boots from the first disk; else the machine stands still. */
  readonly boot?: boolean;
  /** `-drive` of each disk in place of the usual. */
  readonly drives?: readonly string[];
  readonly more?: readonly string[];
}

/** A QEMU with disks, and three monitors: `qmp` and `second` for imgstore, the other for the test. It ends with the test. */
export class Machine {
  readonly images: readonly string[];
  readonly qmp: string;
  readonly second: string;
  readonly client: QmpClient;
  readonly #child: ChildProcess;

  private constructor(images: readonly string[], qmp: string, client: QmpClient, child: ChildProcess) {
    this.images = images;
    this.qmp = qmp;
    this.second = `${qmp}2`;
    this.client = client;
    this.#child = child;
  }

  static async start(
    folder: string,
    images: readonly string[],
    { boot = false, drives, more = [] }: MachineOptions = {},
  ): Promise<Machine> {
    const [qmp, own] = [join(folder, 'qmp'), join(folder, 'own')];
    for (const path of [qmp, `${qmp}2`, own]) rmSync(path, { force: true });
    const usual = images.map((image) => `file=${image},if=virtio,format=qcow2,discard=unmap`);
    const child = spawn(
      'qemu-system-x86_64',
      [
        ...[
          '-M',
          'pc',
          '-accel',
          'tcg',
          '-m',
          '32',
          '-nodefaults',
          '-display',
          'none',
          ...(boot ? [] : ['-S']),
        ],
        ...[qmp, `${qmp}2`, own].flatMap((path) => ['-qmp', `unix:${path},server=on,wait=off`]),
        ...(drives ?? usual).flatMap((drive) => ['-drive', drive]),
        ...more,
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    while (!existsSync(own)) {
      if (child.exitCode !== null) throw new Error('QEMU does not start');
      await sleep(10);
    }
    const client = await connectOften(own);
    onTestFinished(() => client.close());
    return new Machine(images, qmp, client, child);
  }

  /** Runs a command of qemu-io on a disk, as the guest's device would. */
  async io(disk: number, command: string): Promise<void> {
    const line = `qemu-io virtio${disk} "${command}"`;
    const said = await this.client.execute('human-monitor-command', { 'command-line': line });
    if (said !== '') throw new Error(String(said));
  }

  /** The bytes of a disk, while nobody writes. */
  async bytes(disk = 0): Promise<Buffer> {
    await this.io(disk, 'flush');
    const copy = `${this.images[disk]}.copy`;
    await qemuImg('convert', '-U', '-O', 'qcow2', this.images[disk]!, copy);
    return qemuBytes(copy);
  }

  /** Names of dirty bitmaps of a disk. */
  async bitmaps(disk = 0): Promise<string[]> {
    const devices = (await this.client.execute('query-block')) as {
      inserted: { 'dirty-bitmaps'?: { name?: string }[] };
    }[];
    return (devices[disk]!.inserted['dirty-bitmaps'] ?? []).map(({ name }) => name ?? '');
  }

  /** Fails unless nothing of a commit is in it but a bitmap for each disk. */
  async expectClean(): Promise<void> {
    const ask = (command: string) => this.client.execute(command);
    expect(await ask('query-jobs')).toEqual([]);
    expect(await ask('query-block-exports')).toEqual([]);
    const nodes = (await ask('query-named-block-nodes')) as { 'node-name': string }[];
    expect(nodes.filter((node) => node['node-name'].startsWith('imgstore'))).toEqual([]);
  }

  async quit(): Promise<void> {
    const ended = once(this.#child, 'exit');
    await this.client.execute('quit').catch(() => {});
    await ended;
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }

  get pid(): number {
    return this.#child.pid!;
  }
}

async function connectOften(path: string): Promise<QmpClient> {
  for (;;) {
    try {
      return await QmpClient.connect({ path }, { label: path });
    } catch (error) {
      if (!/nobody listens/.test(String(error))) throw error;
      await sleep(10);
    }
  }
}
