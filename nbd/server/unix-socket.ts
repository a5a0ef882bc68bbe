import { lstat, stat, unlink } from 'node:fs/promises';
import type { Server } from 'node:net';
import { dirname } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';
import { LockFile } from '../../files/index.ts';
import { isListening } from '../transport/listening.ts';

/** Nobody but the owner can do anything with a socket that is made now. */
const OWNER_ONLY = 0o077;

/** unix(7): a path has 108 bytes with the NUL behind it. A longer one would be cut off without a word. */
const MAX_PATH_BYTES = 107;

/** How long another server that comes to listen there is waited for. It takes moments. */
const LOCK_WAIT_MS = 10_000;

/**
 * Listens on a unix socket that only its owner can connect to. The file of a server that is gone is replaced. Of several servers that come at once one gets the socket.
 * @throws ImgstoreError `IN_USE` when a server listens there, `BUSY` when another is about to for long, `EXISTS` for a file of another kind, `USAGE` for a path that is too long, `IO`, `NOT_FOUND`
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    const why = `a socket's path may have ${MAX_PATH_BYTES} bytes: choose a shorter one`;
    throw new ImgstoreError('USAGE', `${path}: ${why}`, { path });
  }
  await refuseNoFolder(path);
  // Between the look at a file that is there and the listening it must not become another's: that would be taken for the dead one.
  const lock = await LockFile.take('socket', path, {}, LOCK_WAIT_MS);
  try {
    await removeDead(path);
    await listen(server, path);
  } finally {
    await lock.release();
  }
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(asFailure(error, path)));
    server.once('listening', resolve);
    // The file is made within the call, so no moment is left in which others could connect.
    const before = process.umask(OWNER_ONLY);
    try {
      server.listen(path);
    } finally {
      process.umask(before);
    }
  });
  server.removeAllListeners('error');
}

/** libuv tells of a folder that is not there as of one that may not be written to. */
async function refuseNoFolder(path: string): Promise<void> {
  const folder = dirname(path);
  await stat(folder).catch((error: unknown) => {
    throw fromSystem(error, folder);
  });
}

async function removeDead(path: string): Promise<void> {
  const stats = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw fromSystem(error, path);
  });
  if (stats === undefined) return;
  if (!stats.isSocket())
    throw new ImgstoreError('EXISTS', `${path}: is there already, and no socket: choose another name`, {
      path,
    });
  if (await isListening(path)) throw inUse(path);
  await unlink(path).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw fromSystem(error, path);
  });
}

function asFailure(error: Error, path: string): unknown {
  return systemCode(error) === 'EADDRINUSE' ? inUse(path) : fromSystem(error, path);
}

function inUse(path: string): ImgstoreError {
  return new ImgstoreError('IN_USE', `${path}: a server listens there: stop it, or choose another name`, {
    path,
  });
}
