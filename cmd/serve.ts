import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { ImgstoreError } from '../errors/index.ts';
import { type ServedStore, type ServeRequest, serveStore } from '../store/index.ts';
import { countArgument, pathArgument, sizeArgument } from './arguments.ts';
import { Context } from './context.ts';
import { optimizeForLong } from './optimizing.ts';
import { interruption } from './signals.ts';

const NBD_PORT = 10809;
/** How often it is looked whether clients are there. */
const LOOK_MS = 500;

interface ServeOptions {
  readonly socket?: string;
  readonly listen?: { readonly host: string; readonly port: number };
  readonly tls?: string;
  readonly tlsCertificates?: string;
  readonly tlsVerifyPeer?: boolean;
  readonly cache?: number;
  readonly writable?: boolean;
  readonly overlays?: string;
  readonly maxConnections?: number;
  readonly idleExit?: number;
}

/** `imgstore serve` */
export function define(command: Command): void {
  command
    .argument('[rev...]', 'serve these versions only (default: every branch, tag and commit)')
    .option(
      '--socket <path>',
      'listen on this unix socket (default: imgstore/nbd.sock in the store)',
      pathArgument,
    )
    .option(
      '--listen <address>',
      'listen on this address and port instead: 127.0.0.1:10809, [::1], :10809 for all',
      parseAddress,
    )
    .option(
      '--tls-certificates <dir>',
      'speak TLS with server-cert.pem and server-key.pem of this folder',
      pathArgument,
    )
    .option(
      '--tls <how>',
      'on: clients may speak TLS; require: they must (default with certificates: require)',
    )
    .option('--tls-verify-peer', "let in only clients whose certificate the folder's ca-cert.pem has signed")
    .option(
      '--writable',
      'let branches be written to: what is written goes into overlays, which outlive the server',
    )
    .option(
      '--overlays <dir>',
      'the folder of overlays (default: imgstore/sessions in the store)',
      pathArgument,
    )
    .option(
      '--cache <size>',
      'keep so much of what was read in memory (default: a sixteenth of the memory, 64M to 512M)',
      sizeArgument,
    )
    .option('--max-connections <n>', 'turn further clients away (default: 256)', countArgument)
    .option('--idle-exit <seconds>', 'end when no client was there for so long', countArgument)
    .addHelpText(
      'after',
      `
An export is named by a revision: web, web~2, v1.0, 3c9f01d2; of a version with several disks by web:vdb.
The empty name is the version that was committed last, or the only one that is served.

Example:
  imgstore serve &
  qemu-img info 'nbd+unix:///web?socket=.imgstore/imgstore/nbd.sock'
  imgstore serve web --listen 127.0.0.1:10809`,
    )
    .action(async (revisions: string[], options: ServeOptions, command: Command) => {
      const context = new Context(command);
      const request = requestOf(revisions, options);
      optimizeForLong();
      await context.withStore(async (store) => {
        const onNotice = (text: string) => context.notice(`imgstore: ${text}`);
        const server = await serveStore(store, { ...request, onNotice });
        try {
          context.result({ uri: server.uri, pid: process.pid }, () => `serving ${server.uri}\n`);
          await untilOver(server, options.idleExit);
        } finally {
          await server.close();
        }
      });
    });
}

function requestOf(revisions: readonly string[], options: ServeOptions): ServeRequest {
  const { socket, listen, cache: cacheBytes, maxConnections, writable, overlays } = options;
  if (overlays !== undefined && !writable)
    throw new ImgstoreError('USAGE', '--overlays is for --writable: nothing else is written');
  if (socket !== undefined && listen !== undefined)
    throw new ImgstoreError('USAGE', 'serve takes --socket or --listen');
  return { revisions, socket, listen, cacheBytes, maxConnections, writable, overlays, tls: tlsOf(options) };
}

function tlsOf({ tls, tlsCertificates: certificates, tlsVerifyPeer: verifyPeer = false }: ServeOptions) {
  if (tls !== undefined && !['on', 'require'].includes(tls))
    throw new ImgstoreError('USAGE', `--tls ${tls}: write on or require`);
  if (certificates !== undefined) return { certificates, require: tls !== 'on', verifyPeer };
  if (tls !== undefined || verifyPeer)
    throw new ImgstoreError('USAGE', 'TLS needs certificates: name their folder with --tls-certificates');
  return undefined;
}

/** `HOST:PORT`, each of which may be left out. */
function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(\[[0-9A-Fa-f:.%a-z]+\]|[^:[\]]*)(?::(\d{1,5}))?$/.exec(text);
  const port = Number(match?.[2] ?? NBD_PORT);
  if (match === null || text === '' || port > 65535)
    throw new ImgstoreError('USAGE', `--listen ${text}: write an address and a port: 127.0.0.1:10809`);
  const host = match[1]!.replace(/^\[|\]$/g, '');
  return { host: host === '' ? '::' : host, port };
}

/** Waits for a signal, or until no client was there for some time. */
async function untilOver(server: ServedStore, idleSeconds: number | undefined): Promise<void> {
  let busyMs = performance.now();
  let isStopped = false;
  const stopped = server.stopped?.then(() => {
    isStopped = true;
  });
  while (!interruption.aborted && !isStopped) {
    const pause = sleep(LOOK_MS, undefined, { signal: interruption }).catch(() => {});
    await Promise.race(stopped === undefined ? [pause] : [pause, stopped]);
    if (idleSeconds === undefined) continue;
    if (server.connections > 0) busyMs = performance.now();
    else if (performance.now() - busyMs >= idleSeconds * 1000) return;
  }
}
