import { type ChildProcess, spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromSystem, ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { findProgram } from '../foreign/find-program.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { findDisk, readVersion } from '../version/version.ts';
import { ensureServer } from './ensure-server.ts';
import { exportNameOf, exportUri, socketPath } from './export-uri.ts';
import { requireExport } from './require-export.ts';

const PROGRAM = 'nbdfuse';
/** What nbdfuse calls the disk in the folder. */
const FILE = 'nbd';
const POLL_MS = 10;
const MOST_STDERR_BYTES = 4096;

export interface MountRequest {
  readonly revision: string;
  /** The folder, which must be there. */
  readonly folder: string;
  /** Of a version with several disks. */
  readonly disk?: string | undefined;
  /** Where the server listens that shows the version; the store's own socket when not given. */
  readonly socket?: string | undefined;
  /** The program and first arguments that are imgstore, for a server if none listens there; undefined: none is started. */
  readonly command?: readonly string[] | undefined;
}

/** A version's disk as a file, until it is unmounted. */
export interface Mount {
  readonly file: string;
  /** Bytes. */
  readonly virtualSize: number;
  /** When it has been unmounted. @throws ImgstoreError `IO` when nbdfuse failed */
  readonly ended: Promise<void>;
}

/**
 * Shows a version's disk as a read-only file in a folder, by nbdfuse on a server's export. The monitor's signal unmounts it.
 * @throws ImgstoreError `NOT_FOUND`, `USAGE`, `UNSUPPORTED` when nbdfuse is not installed, `NBD`, `IO`, `INTERRUPTED`
 */
export async function mountVersion(
  store: Store,
  request: MountRequest,
  monitor: Monitor = {},
): Promise<Mount> {
  const version = readVersion(store.objects, await resolveCommit(store, request.revision));
  const disk = findDisk(version, request.disk);
  const program = requireNbdfuse();
  const folder = resolve(request.folder);
  const unmounted = await folderDevice(folder);
  const socket = socketPath(store, request.socket);
  const exportName = exportNameOf(version, disk);
  if (request.command !== undefined) await ensureServer(store, socket, { command: request.command }, monitor);
  await requireExport(socket, exportName, disk);
  throwIfStopped(monitor);
  const fuse = new Nbdfuse(program, folder, exportUri(socket, exportName));
  const stop = () => fuse.stop();
  monitor.signal?.addEventListener('abort', stop, { once: true });
  const ended = fuse.ended.finally(() => monitor.signal?.removeEventListener('abort', stop));
  // Thrown to whoever waits for it.
  ended.catch(() => {});
  await Promise.race([ended, untilMounted(folder, unmounted, fuse)]);
  throwIfStopped(monitor);
  return { file: join(request.folder, FILE), virtualSize: disk.virtualSize, ended };
}

/** A running nbdfuse. */
class Nbdfuse {
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  #hasEnded = false;
  #isStopped = false;

  constructor(program: string, folder: string, uri: string) {
    // A session of its own: Ctrl-C is for us, who then tell it.
    const child = spawn(program, ['-r', folder, uri], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-MOST_STDERR_BYTES);
    });
    this.ended = new Promise<void>((done, fail) => {
      const end = (how: string | undefined) => {
        this.#hasEnded = true;
        if (how === undefined || this.#isStopped) return done();
        const words = said.split('\n').map((line) => line.trim());
        const why = words.filter((line) => line !== '').join(': ') || how;
        fail(new ImgstoreError('IO', `${folder}: ${PROGRAM} failed: ${why}`, { path: folder }));
      };
      child.on('error', (error) => end(error.message));
      child.on('close', (code, signal) => end(code === 0 ? undefined : `exit code ${code ?? signal}`));
    });
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Unmounts: nbdfuse does so when it is told to end. */
  stop(): void {
    this.#isStopped = true;
    this.#child.kill('SIGTERM');
  }
}

/** Waits until another file system is there. */
async function untilMounted(folder: string, unmounted: number, fuse: Nbdfuse): Promise<void> {
  while (!fuse.hasEnded) {
    try {
      if ((await folderDevice(folder)) !== unmounted) return;
    } catch (error) {
      // It is being mounted.
      if (!isImgstoreError(error)) throw error;
    }
    await sleep(POLL_MS);
  }
}

/** `st_dev` of a folder. @throws ImgstoreError `NOT_FOUND`, `USAGE`, `IO` */
async function folderDevice(path: string): Promise<number> {
  try {
    const stats = await stat(path);
    if (!stats.isDirectory())
      throw new ImgstoreError('USAGE', `${path}: is no folder: name one to mount in`, { path });
    return stats.dev;
  } catch (error) {
    throw fromSystem(error, path);
  }
}

/** @throws ImgstoreError `UNSUPPORTED` with what to install */
function requireNbdfuse(): string {
  const program = findProgram(PROGRAM);
  if (program !== undefined) return program;
  throw new ImgstoreError(
    'UNSUPPORTED',
    `mount shows a version through ${PROGRAM}, and that is not installed: install it (Debian: apt install libnbd-bin)`,
    { program: PROGRAM },
  );
}
