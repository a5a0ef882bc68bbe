import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';

/** A program of QEMU that has a disk open for as long as it runs, and serves it to guests or clients. */
export type QemuProgram = 'qemu-nbd' | 'qemu-storage-daemon' | 'qemu-system-x86_64';

const NODE = 'disk';
const EXPORT = 'disk';
/** Milliseconds between looks at whether a server is up. */
const POLL_MS = 10;

/** Whether the program is on this machine. */
export function hasProgram(program: QemuProgram): boolean {
  return spawnSync(program, ['--version']).error === undefined;
}

/** A running QEMU that has a qcow2 open, to which guests write by way of NBD. */
export class RunningQemu {
  readonly #child: ChildProcess;
  readonly #socket: string;
  readonly #hasMonitor: boolean;
  readonly #answers: ((answer: QmpAnswer) => void)[] = [];

  private constructor(program: QemuProgram, image: string) {
    this.#socket = `${image}.sock`;
    this.#hasMonitor = program !== 'qemu-nbd';
    rmSync(this.#socket, { force: true });
    const args = this.#hasMonitor ? monitored(program, image) : serving(image, this.#socket);
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    onTestFinished(() => {
      this.#child.kill('SIGKILL');
    });
  }

  /** Opens an image, and comes back when clients can write to it. */
  static async open(program: QemuProgram, image: string): Promise<RunningQemu> {
    const qemu = new RunningQemu(program, image);
    await (qemu.#hasMonitor ? qemu.#startServer() : qemu.#served(`${image}.sock.pid`));
    return qemu;
  }

  /** Runs a command of its monitor, and returns what it answers. */
  async #qmp(execute: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const answer = new Promise<QmpAnswer>((resolve) => this.#answers.push(resolve));
    this.#child.stdin!.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    const { error, return: value } = await answer;
    if (error !== undefined) throw new Error(`${execute}: ${error.desc}`);
    return value;
  }

  /** Adds a bitmap that is saved in the image when it is closed. */
  async addBitmap(name: string): Promise<void> {
    await this.#qmp('block-dirty-bitmap-add', { node: NODE, name, persistent: true, granularity: 65536 });
  }

  /** Takes all that is noted out of a bitmap. */
  async clearBitmap(name: string): Promise<void> {
    await this.#qmp('block-dirty-bitmap-clear', { node: NODE, name });
  }

  /** Runs commands of qemu-io on the disk, one after the other, which must all succeed. */
  async write(commands: readonly string[]): Promise<void> {
    const { done, said } = await this.#clientDone(this.#client(commands));
    if (done !== commands.filter((command) => command !== 'flush').length) throw new Error(said);
  }

  /** As {@link write}; kills QEMU once so many of the commands are done. Returns how many were done when it was dead. */
  async killWhileWriting(commands: readonly string[], after: number): Promise<number> {
    const client = this.#client(commands);
    const { done } = await this.#clientDone(client, (count) => {
      if (count >= after) this.#child.kill('SIGKILL');
    });
    await this.kill();
    return done;
  }

  /** Lets it end as its user would. */
  async quit(): Promise<void> {
    const ended = this.#ended();
    if (this.#hasMonitor) await this.#qmp('quit');
    else this.#child.kill('SIGTERM');
    await ended;
  }

  async kill(): Promise<void> {
    const ended = this.#ended();
    this.#child.kill('SIGKILL');
    await ended;
  }

  async #ended(): Promise<void> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) await once(this.#child, 'exit');
  }

  #client(commands: readonly string[]): ChildProcess {
    const list = commands.flatMap((command) => ['-c', command]);
    const uri = `nbd+unix:///${EXPORT}?socket=${this.#socket}`;
    return spawn('qemu-io', ['-f', 'raw', ...list, uri], { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Waits for the end of a client, and counts what it has done. */
  async #clientDone(
    client: ChildProcess,
    onDone: (count: number) => void = () => {},
  ): Promise<{ readonly done: number; readonly said: string }> {
    const closed = once(client, 'close');
    let said = '';
    const count = () => said.match(/^(?:wrote|discard) \d+\/\d+ bytes/gm)?.length ?? 0;
    client.stderr!.on('data', (chunk) => {
      said += chunk;
    });
    client.stdout!.on('data', (chunk) => {
      said += chunk;
      onDone(count());
    });
    await closed;
    return { done: count(), said };
  }

  async #startServer(): Promise<void> {
    createInterface(this.#child.stdout!).on('line', (line) => {
      const answer: QmpAnswer = JSON.parse(line);
      if ('return' in answer || answer.error !== undefined) this.#answers.shift()?.(answer);
    });
    await this.#qmp('qmp_capabilities');
    await this.#qmp('nbd-server-start', { addr: { type: 'unix', data: { path: this.#socket } } });
    await this.#qmp('block-export-add', {
      ...{ type: 'nbd', id: EXPORT, name: EXPORT, 'node-name': NODE, writable: true },
    });
  }

  /** It writes its number down when it is ready. */
  async #served(note: string): Promise<void> {
    while (!existsSync(note)) {
      if (this.#child.exitCode !== null) throw new Error(`qemu-nbd: ${this.#child.exitCode}`);
      await sleep(POLL_MS);
    }
    rmSync(note);
  }
}

interface QmpAnswer {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

function serving(image: string, socket: string): string[] {
  const server = ['--socket', socket, '--export-name', EXPORT, '--pid-file', `${socket}.pid`, '--persistent'];
  return [...server, '--discard', 'unmap', '--format', 'qcow2', image];
}

function monitored(program: QemuProgram, image: string): string[] {
  const file = { driver: 'file', filename: image, discard: 'unmap' };
  const node = JSON.stringify({ driver: 'qcow2', 'node-name': NODE, discard: 'unmap', file });
  if (program === 'qemu-storage-daemon')
    return ['--blockdev', node, '--chardev', 'stdio,id=qmp', '--monitor', 'chardev=qmp'];
  const machine = ['-machine', 'none', '-nodefaults', '-display', 'none', '-S'];
  return [...machine, '-blockdev', node, '-qmp', 'stdio'];
}
