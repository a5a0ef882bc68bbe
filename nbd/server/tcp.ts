import type { AddressInfo, Server } from 'node:net';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';

/**
 * Listens on a TCP port.
 * @param port 0 for any that is free
 * @returns the port
 * @throws ImgstoreError `IN_USE` when somebody listens there, `IO`
 */
export async function listenOnPort(server: Server, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(asFailure(error, host, port)));
    server.once('listening', resolve);
    server.listen(port, host);
  });
  server.removeAllListeners('error');
  return (server.address() as AddressInfo).port;
}

function asFailure(error: Error, host: string, port: number): unknown {
  const address = `${host}:${port}`;
  if (systemCode(error) !== 'EADDRINUSE') return fromSystem(error, address);
  return new ImgstoreError('IN_USE', `${address}: somebody listens there: choose another port`, {
    host,
    port,
  });
}
