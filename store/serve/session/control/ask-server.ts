import type { Socket } from 'node:net';
import { ImgstoreError } from '../../../../errors/index.ts';
import { tryConnect } from '../../../../nbd/index.ts';
import { Lines } from './lines.ts';
import { type ControlRequest, encodeRequest, parseAnswer } from './messages.ts';

/** What a server has answered. */
export interface ServerAnswer {
  readonly result: unknown;
}

/**
 * Asks a server that is at work on a store.
 * @param path see `controlSocket`
 * @returns undefined when nobody listens there
 * @throws ImgstoreError the server's, `INTERRUPTED` by the signal: what was asked for may be done all the same; `IO`
 */
export async function askServer(
  path: string,
  request: ControlRequest,
  signal?: AbortSignal,
): Promise<ServerAnswer | undefined> {
  const socket = await tryConnect(path);
  if (socket === undefined) return undefined;
  const onAbort = () => socket.destroy();
  signal?.addEventListener('abort', onAbort);
  try {
    socket.write(encodeRequest(request));
    const line = await firstLine(socket);
    if (line !== undefined) return { result: parseAnswer(line) };
  } finally {
    signal?.removeEventListener('abort', onAbort);
    socket.destroy();
  }
  if (signal?.aborted)
    throw new ImgstoreError('INTERRUPTED', `${path}: interrupted; the server goes on with what it was asked`);
  throw new ImgstoreError('IO', `${path}: the server went away before it answered: see if it runs`, { path });
}

/** Undefined when the connection is closed before. */
function firstLine(socket: Socket): Promise<string | undefined> {
  const lines = new Lines();
  return new Promise((resolve, reject) => {
    socket.on('error', () => resolve(undefined));
    socket.on('close', () => resolve(undefined));
    socket.on('data', (chunk: Buffer) => {
      try {
        const [first] = lines.push(chunk);
        if (first !== undefined) resolve(first);
      } catch (error) {
        reject(error);
      }
    });
  });
}
