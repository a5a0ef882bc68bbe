import { lstat, stat, unlink } from 'node:fs/promises';
import type { Server } from 'node:net';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';

/** Nobody but the owner can do anything with a socket that is made now. */
const OWNER_ONLY = 0o077;

/** unix(7): a path has 108 bytes with the NUL behind it. A longer one would be cut off without a word. */
const MAX_PATH_BYTES = 107;

/**
 * Listens on a unix socket that only its owner can connect to. The file of a server that is gone is replaced.
 * @throws ImgstoreError `IN_USE` when a server listens there, `EXISTS` for a file of another kind, `USAGE` for a path that is too long, `IO`, `NOT_FOUND`
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    const why = `a socket's path may have ${MAX_PATH_BYTES} bytes: choose a shorter one`;
    throw new ImgstoreError('USAGE', `${path}: ${why}`, { path });
  }
  await removeDead(path);
  await refuseNoFolder(path);
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
  const answer = await connectTo(path);
  if (answer !== 'ECONNREFUSED' && answer !== 'ENOENT') throw inUse(path);
  await unlink(path).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw fromSystem(error, path);
  });
}

/** The system's code when nobody answers; undefined when somebody does. */
function connectTo(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('error', (error) => resolve(systemCode(error)));
    socket.on('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
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
