import { ImgstoreError } from '../errors/index.ts';
import { MAX_STRING_BYTES } from './protocol/constants.ts';

/** IANA's port of NBD. */
export const NBD_PORT = 10809;

/** Where a server listens. */
export type NbdAddress =
  | { readonly host: string; readonly port: number }
  /** A unix domain socket. */
  | { readonly path: string };

/** An export on a server. */
export interface NbdLocation {
  readonly address: NbdAddress;
  /** Any text, also empty, which is the server's default export. */
  readonly exportName: string;
}

/** RFC 3986, appendix B: scheme, authority, path, query, fragment. */
const URI_PATTERN = /^([^:/?#]+):(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(#.*)?$/s;
const AUTHORITY_PATTERN = /^(?:(.*)@)?(\[[0-9A-Fa-f:.]+(?:%25[^\]]+)?\]|[^:[\]]*)(?::([0-9]*))?$/s;

/** True for what is meant as an NBD URI, valid or not: no file is looked for under such a name. */
export function isNbdUri(text: string): boolean {
  return /^nbds?(\+[a-z]+)?:\/\//i.test(text);
}

/**
 * Parses an NBD URI (doc/uri.md of NetworkBlockDevice/nbd): `nbd://host[:port]/export` or
 * `nbd+unix:///export?socket=path`.
 * @throws ImgstoreError `USAGE`, or `UNSUPPORTED` for TLS and other ways to a server
 */
export function parseNbdUri(uri: string): NbdLocation {
  const fault = (why: string) => new ImgstoreError('USAGE', `${uri}: ${why}`, { uri });
  const parts = URI_PATTERN.exec(uri);
  if (parts === null)
    throw fault('is no URI: write nbd://host[:port]/export or nbd+unix:///export?socket=path');
  const [, scheme, authority = '', path = '', query = '', fragment] = parts;
  const decode = (text: string, what: string) => {
    try {
      return decodeURIComponent(text);
    } catch {
      throw fault(`its ${what} has a % that does not begin a valid escape: write %25 for it`);
    }
  };
  if (fragment !== undefined) throw fault("has a '#': write %23 for it");
  const exportName = decode(path.replace(/^\//, ''), 'export name');
  if (exportName.includes('\0')) throw fault('its export name has a NUL character');
  if (Buffer.byteLength(exportName) > MAX_STRING_BYTES)
    throw fault(`its export name is longer than ${MAX_STRING_BYTES} bytes`);
  const parameters = parseQuery(query, decode, fault);
  switch (scheme!.toLowerCase()) {
    case 'nbd':
      refuseParameters(parameters, [], fault);
      return { address: parseAuthority(authority, decode, fault), exportName };
    case 'nbd+unix': {
      if (authority !== '')
        throw fault('names a host: a unix socket has none, write nbd+unix:///export?socket=path');
      refuseParameters(parameters, ['socket'], fault);
      const socket = parameters.get('socket');
      if (socket === undefined || socket === '') throw fault('names no socket: add ?socket=path');
      return { address: { path: socket }, exportName };
    }
    case 'nbds':
    case 'nbds+unix':
      throw new ImgstoreError(
        'UNSUPPORTED',
        `${uri}: asks for TLS, which imgstore does not speak: go through a tunnel, or use ${scheme!.replace(/s/i, '')}:`,
        { uri },
      );
    default:
      throw new ImgstoreError('UNSUPPORTED', `${uri}: imgstore knows nbd: and nbd+unix: only`, { uri });
  }
}

/** The URI of an export. @param isTls whether the server speaks TLS */
export function nbdUri({ address, exportName }: NbdLocation, isTls = false): string {
  const scheme = isTls ? 'nbds' : 'nbd';
  const name = encodeURIComponent(exportName);
  if ('path' in address)
    return `${scheme}+unix:///${name}?socket=${encodeURIComponent(address.path).replaceAll('%2F', '/')}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  const port = address.port === NBD_PORT ? '' : `:${address.port}`;
  return `${scheme}://${host}${port}/${name}`;
}

type Fault = (why: string) => ImgstoreError;
type Decode = (text: string, what: string) => string;

function parseAuthority(authority: string, decode: Decode, fault: Fault): NbdAddress {
  const parts = AUTHORITY_PATTERN.exec(authority);
  if (parts === null) throw fault(`${JSON.stringify(authority)} is no host with a port`);
  const [, user, host = '', port = ''] = parts;
  if (user !== undefined) throw fault('has a user name, which only TLS has a use for');
  const number = port === '' ? NBD_PORT : Number(port);
  if (number < 1 || number > 65535) throw fault(`${port} is no port`);
  const name = decode(host.replace(/^\[|\]$/g, ''), 'host');
  return { host: name === '' ? 'localhost' : name, port: number };
}

function parseQuery(query: string, decode: Decode, fault: Fault): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of query.split('&').filter((text) => text !== '')) {
    const at = pair.indexOf('=');
    const name = decode(at < 0 ? pair : pair.slice(0, at), 'query');
    if (parameters.has(name)) throw fault(`has the parameter ${JSON.stringify(name)} twice`);
    parameters.set(name, at < 0 ? '' : decode(pair.slice(at + 1), 'query'));
  }
  return parameters;
}

function refuseParameters(
  parameters: ReadonlyMap<string, string>,
  known: readonly string[],
  fault: Fault,
): void {
  for (const name of parameters.keys()) {
    if (!known.includes(name))
      throw fault(`has the parameter ${JSON.stringify(name)}, which imgstore does not know here`);
  }
}
