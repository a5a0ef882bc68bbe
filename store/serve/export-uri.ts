import { join, resolve } from 'node:path';
import { ImgstoreError } from '../../errors/index.ts';
import { nbdUri } from '../../nbd/index.ts';
import type { Store } from '../store.ts';
import type { Version, VersionDisk } from '../version/version.ts';

/** Bytes that the path of a unix socket may have: `sun_path` less the NUL (unix(7)). */
const MOST_SOCKET_BYTES = 107;
/** Bytes that a backing file's name may have in a qcow2 header. */
const MOST_BACKING_BYTES = 1023;

/** Where a store's server listens, unless told otherwise. */
export function defaultSocket(store: Pick<Store, 'folder'>): string {
  return join(store.folder, 'imgstore', 'nbd.sock');
}

/** The absolute path of a server's socket. @param asked by the user, if so @throws ImgstoreError `USAGE` for one that is too long for a socket */
export function socketPath(store: Pick<Store, 'folder'>, asked: string | undefined): string {
  const path = asked === undefined ? defaultSocket(store) : resolve(asked);
  const bytes = Buffer.byteLength(path);
  if (bytes <= MOST_SOCKET_BYTES) return path;
  throw new ImgstoreError(
    'USAGE',
    `${path}: the path of a socket has ${MOST_SOCKET_BYTES} bytes at most, this one ${bytes}: name a shorter one with --socket`,
    { path, bytes, most: MOST_SOCKET_BYTES },
  );
}

/** The name of the export that shows a disk of just this version, whatever becomes of branches: its id, and the disk where the version has several. */
export function exportNameOf({ id, disks }: Version, { name }: VersionDisk): string {
  return disks.length > 1 ? `${id}:${name}` : id;
}

/** What an export's name says: a revision, and behind a colon, which no ref has in its name, a disk. */
export function parseExportName(name: string): {
  readonly revision: string;
  readonly disk: string | undefined;
} {
  const colon = name.lastIndexOf(':');
  if (colon < 0) return { revision: name, disk: undefined };
  return { revision: name.slice(0, colon), disk: name.slice(colon + 1) };
}

/**
 * The NBD URI of an export on a unix socket, as QEMU takes it for a backing file's name.
 * @param socket absolute path
 * @throws ImgstoreError `USAGE` when it is too long for a qcow2 header
 */
export function exportUri(socket: string, exportName: string): string {
  const uri = nbdUri({ address: { path: socket }, exportName });
  if (Buffer.byteLength(uri) <= MOST_BACKING_BYTES) return uri;
  throw new ImgstoreError(
    'USAGE',
    `${socket}: is too long, as a URI, for the ${MOST_BACKING_BYTES} bytes that a backing file's name may have: name another with --socket`,
    { path: socket, most: MOST_BACKING_BYTES },
  );
}
