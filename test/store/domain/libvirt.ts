import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** libvirt as root is the one of the system, so its daemon is run as somebody else: nobody. */
const NOBODY = 65534;
const START_MS = 60_000;
const run = promisify(execFile);

/** A libvirt of its own, with its own folders, for the tests of one file. */
export class Libvirt {
  /** In which QEMU may read and write. */
  readonly folder: string;
  readonly uri: string;
  readonly #folders: NodeJS.ProcessEnv;
  #daemon: ChildProcess | undefined;

  private constructor(folder: string, uri: string, folders: NodeJS.ProcessEnv) {
    this.folder = folder;
    this.uri = uri;
    this.#folders = folders;
  }

  static async start(): Promise<Libvirt> {
    const folder = mkdtempSync(join(tmpdir(), 'imgstore-lv-'));
    give(folder);
    const variables = ['XDG_RUNTIME_DIR', 'XDG_CONFIG_HOME', 'XDG_CACHE_HOME', 'XDG_DATA_HOME', 'HOME'];
    const folders = Object.fromEntries(variables.map((name, i) => [name, join(folder, `x${i}`)]));
    for (const path of Object.values(folders)) {
      mkdirSync(path, { mode: 0o700 });
      give(path);
    }
    const socket = join(folders.XDG_RUNTIME_DIR!, 'libvirt', 'libvirt-sock');
    const libvirt = new Libvirt(folder, `qemu+unix:///session?socket=${socket}`, folders);
    await libvirt.startDaemon();
    return libvirt;
  }

  /** Starts the daemon, also when it was killed; machines have run on. */
  async startDaemon(): Promise<void> {
    const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
    const [command, ...args] = [...(isRoot() ? asNobody : []), 'libvirtd', '--timeout', '120'];
    const PATH = [process.env.PATH, '/usr/local/sbin', '/usr/sbin', '/sbin'].join(delimiter);
    const daemon = spawn(command!, args, {
      env: { ...process.env, ...this.#folders, PATH },
      stdio: 'ignore',
    });
    this.#daemon = daemon;
    const deadline = Date.now() + START_MS;
    while (!(await this.#answers())) {
      if (daemon.exitCode !== null || Date.now() > deadline) throw new Error('libvirtd does not start');
      await sleep(50);
    }
  }

  /** What virsh says to a command. @throws Error with its words */
  async virsh(...args: readonly string[]): Promise<string> {
    const { stdout } = await run('virsh', ['--quiet', '--connect', this.uri, ...args]);
    return stdout;
  }

  /** In which the daemon's number is. */
  get pidFile(): string {
    return join(this.#folders.XDG_RUNTIME_DIR!, 'libvirt', 'libvirtd.pid');
  }

  /** Ends all machines and the daemon. */
  async stop(): Promise<void> {
    const running = await this.virsh('list', '--uuid').catch(() => '');
    for (const uuid of running.split('\n').filter((line) => line !== ''))
      await this.virsh('destroy', uuid).catch(() => '');
    const daemon = this.#daemon!;
    if (daemon.exitCode === null && daemon.signalCode === null) {
      const ended = once(daemon, 'exit');
      daemon.kill();
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #answers(): Promise<boolean> {
    return this.virsh('list').then(
      () => true,
      () => false,
    );
  }
}

/** Gives a file to who runs QEMU. */
export function give(path: string): void {
  if (isRoot()) chownSync(path, NOBODY, NOBODY);
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}
