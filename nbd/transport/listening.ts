import { connect, type Socket } from 'node:net';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';

/** What connecting fails with where nobody listens: there is no such file, no such folder, or a socket that a server has left. */
const NOBODY: ReadonlySet<unknown> = new Set(['ENOENT', 'ENOTDIR', 'ECONNREFUSED']);

/** Connects to a unix socket. @returns undefined when nobody listens there @throws ImgstoreError `IO` */
export function tryConnect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const onError = (error: Error) => {
      socket.destroy();
      if (NOBODY.has(systemCode(error))) resolve(undefined);
      else reject(fromSystem(error, path));
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      resolve(socket);
    });
  });
}

/** Whether somebody accepts connections at a unix socket. @throws ImgstoreError `IO` where that cannot be found out */
export async function isListening(path: string): Promise<boolean> {
  try {
    const socket = await tryConnect(path);
    socket?.destroy();
    return socket !== undefined;
  } catch (error) {
    // Whoever listens has more clients waiting than there is room for.
    if (error instanceof ImgstoreError && error.data.system === 'EAGAIN') return true;
    throw error;
  }
}
