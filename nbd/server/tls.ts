import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { createSecureContext, createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { fromSystem, ImgstoreError } from '../../errors/index.ts';

/** How a server speaks TLS (`NBD_OPT_STARTTLS`). A server without it refuses to. */
export interface ServerTls {
  /** A folder with files as nbdkit names them: `server-cert.pem`, `server-key.pem` and, for {@link verifyPeer}, `ca-cert.pem`. */
  readonly certificates: string;
  /** Clients must begin TLS before anything else; else they may. */
  readonly require: boolean;
  /** Clients must have a certificate that `ca-cert.pem` has signed. */
  readonly verifyPeer?: boolean;
}

/**
 * Reads the files.
 * @throws ImgstoreError `NOT_FOUND` or `IO` for a file that cannot be read, `USAGE` for one that is no certificate or key
 */
export async function loadTls({ certificates, verifyPeer = false }: ServerTls): Promise<TlsOptions> {
  const read = async (name: string) => {
    const path = join(certificates, name);
    return readFile(path).catch((error: unknown) => {
      throw fromSystem(error, path);
    });
  };
  const options = {
    cert: await read('server-cert.pem'),
    key: await read('server-key.pem'),
    ...(verifyPeer ? { ca: await read('ca-cert.pem') } : {}),
    // "TLS versions": 1.2 must be supported, older ones should not.
    minVersion: 'TLSv1.2',
  } as const;
  try {
    createSecureContext(options);
  } catch (error) {
    const why = `its certificate or key cannot be used: ${(error as Error).message}`;
    throw new ImgstoreError('USAGE', `${certificates}: ${why}`, { path: certificates }, error);
  }
  return { ...options, requestCert: verifyPeer, rejectUnauthorized: verifyPeer };
}

/**
 * Goes over to TLS as its server. The client is known when it returns, if it has to be.
 * @param socket that nobody reads any more
 * @throws the system's error, or that of TLS, when the two do not agree
 */
export function startTls(socket: Socket, options: TlsOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    // A server that never listens: it alone judges clients' certificates.
    const server = createServer(options);
    server.once('secureConnection', (secure) => {
      secure.allowHalfOpen = true;
      resolve(secure);
    });
    server.once('tlsClientError', reject);
    socket.once('close', () => reject(new Error('the client closed the connection')));
    // A client that goes away in the middle must be noticed.
    socket.allowHalfOpen = false;
    server.emit('connection', socket);
  });
}
