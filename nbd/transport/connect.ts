import { connect as connectSocket, type Socket } from 'node:net';
import type { NbdAddress } from '../uri.ts';

/**
 * Connects to a server.
 * @param signal ends the attempt, and as long as the connection lasts, the connection, with its reason
 * @throws the system's error, or the signal's reason
 */
export function connect(address: NbdAddress, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const socket =
      'path' in address ? connectSocket(address.path) : connectSocket(address.port, address.host);
    const stop = () => socket.destroy(signal.reason instanceof Error ? signal.reason : new Error('stopped'));
    signal.addEventListener('abort', stop, { once: true });
    socket.once('close', () => signal.removeEventListener('abort', stop));
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      // Requests are small and waited for.
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}
