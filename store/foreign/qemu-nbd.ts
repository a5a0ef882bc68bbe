import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromSystem, ImgstoreError, isImgstoreError, systemCode } from '../../errors/index.ts';
import { NbdSource } from '../../nbd/index.ts';
import { findProgram } from './find-program.ts';

/** How long qemu-nbd may take to open an image. */
const START_MS = 60_000;
const POLL_MS = 5;
/** How long it may take to end when its client has gone. */
const END_MS = 5_000;
const MOST_STDERR_BYTES = 4096;
/** Unix sockets have room for 107 bytes. */
const MOST_FOLDER_BYTES = 90;

/** Processes and folders to take away however this process ends. */
const running = new Set<QemuNbd>();
let removesAtExit = false;

/** An image served by a `qemu-nbd` of its own, read-only, over a unix socket that nobody else can reach. */
export class QemuNbd {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #ended: Promise<void>;
  #stderr = '';
  #end: string | undefined;

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child;
    this.#folder = folder;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-MOST_STDERR_BYTES);
    });
    this.#ended = new Promise((resolve) => {
      child.on('error', (error) => {
        this.#end = error.message;
        resolve();
      });
      child.on('close', (code, signal) => {
        this.#end ??= signal === null ? `exit code ${code}` : `signal ${signal}`;
        resolve();
      });
    });
  }

  /**
   * Starts the program.
   * @param program its path
   * @param imageOptions what QEMU is to open (`--image-opts`): nothing is left for it to guess
   * @throws ImgstoreError `NOT_FOUND`, `IO` for the folder for temporary files
   */
  static async start(program: string, imageOptions: string): Promise<QemuNbd> {
    if (!removesAtExit) process.on('exit', removeAll);
    removesAtExit = true;
    const folder = await makeSocketFolder();
    const args = ['--read-only', `--socket=${join(folder, 'socket')}`, '--image-opts', imageOptions];
    // Where it is there, setpriv lets the system end qemu-nbd when this process is killed before the two are connected;
    // later qemu-nbd ends by itself when its client goes.
    const setpriv = findProgram('setpriv');
    const [command, ...rest] =
      setpriv === undefined ? [program, ...args] : [setpriv, '--pdeathsig', 'KILL', '--', program, ...args];
    const child = spawn(command!, rest, {
      // A session of its own: Ctrl-C is for us, and what we read must not break off before we stop.
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, LC_ALL: 'C' },
    });
    const server = new QemuNbd(child, folder);
    running.add(server);
    return server;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** What it has said last, in one line, or how it ended; undefined while it runs and is silent. */
  get lastWords(): string | undefined {
    const text = this.#stderr
      .split('\n')
      .map((line) => line.replace(/^qemu-nbd: /, '').trim())
      .filter((line) => line !== '')
      .join(': ');
    return text === '' ? this.#end : text;
  }

  /** Waits until it serves, and connects. It takes one client and ends with it. @throws ImgstoreError `NBD` */
  async connect(label: string): Promise<NbdSource> {
    const address = { path: join(this.#folder, 'socket') };
    for (const deadline = Date.now() + START_MS; ; await sleep(POLL_MS)) {
      try {
        const source = await NbdSource.open({ address, exportName: '' }, { label });
        // From here on the connection is all: nothing is left behind by a kill.
        await this.#removeFolder();
        return source;
      } catch (error) {
        const isEarly = ['ENOENT', 'ECONNREFUSED'].includes(systemCode((error as Error).cause) ?? '');
        if (!isEarly || this.#end !== undefined || Date.now() > deadline) throw error;
      }
    }
  }

  /** Waits a moment for its end, which a broken connection is a sign of; true when it has ended. */
  async hasEnded(): Promise<boolean> {
    await Promise.race([this.#ended, sleep(END_MS / 5, undefined, { ref: false })]);
    return this.#end !== undefined;
  }

  /** Ends it, with force if it does not end by itself, and removes its folder. */
  async stop(force: boolean): Promise<void> {
    if (force) this.#kill();
    await Promise.race([this.#ended, sleep(END_MS, undefined, { ref: false })]);
    this.#kill();
    await this.#ended;
    await this.#removeFolder();
    running.delete(this);
  }

  /** For a process that ends now. */
  remove(): void {
    this.#kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #kill(): void {
    if (this.#end === undefined) this.#child.kill('SIGKILL');
  }

  #removeFolder(): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true });
  }
}

function removeAll(): void {
  for (const server of running) server.remove();
}

/** A new folder, for the socket alone. @throws ImgstoreError `NOT_FOUND`, `IO` */
async function makeSocketFolder(): Promise<string> {
  const temporary = tmpdir();
  const above = Buffer.byteLength(temporary) <= MOST_FOLDER_BYTES ? temporary : '/tmp';
  try {
    return await mkdtemp(join(above, 'imgstore-nbd-'));
  } catch (error) {
    throw fromSystem(error, `the folder for temporary files (TMPDIR), ${above}`);
  }
}

/**
 * Where `qemu-nbd` is.
 * @throws ImgstoreError `UNSUPPORTED` with what to install
 */
export function requireQemuNbd(path: string, format: string): string {
  const program = findProgram('qemu-nbd');
  if (program !== undefined) return program;
  throw new ImgstoreError(
    'UNSUPPORTED',
    `${path}: is a ${format} image, which imgstore reads through qemu-nbd, and that is not installed: install it (Debian: apt install qemu-utils)`,
    { path, format, program: 'qemu-nbd' },
  );
}

/** Whether a failure is one of the connection to a server. */
export function isNbdFailure(error: unknown): error is ImgstoreError {
  return isImgstoreError(error, 'NBD');
}
