import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ImgstoreError } from '../../errors/index.ts';
import { STORE_FOLDER } from '../location.ts';

/** A helper program's address, as git writes it: `ext::sh -c …` runs commands. */
const HELPER_PATTERN = /^[A-Za-z][A-Za-z0-9+.-]*::/;
const SCHEME_PATTERN = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//;
const CONTROL_PATTERN = /[\x00-\x1f\x7f]/;

/** Which transport a URL asks for. */
export type UrlKind = 's3' | 'git';

/**
 * Checks the address of a remote: a URL, `host:path` for ssh, or a path.
 * @throws ImgstoreError `USAGE`
 */
export function checkUrl(url: string): UrlKind {
  const wrong = (reason: string) =>
    new ImgstoreError('USAGE', `'${withoutCredentials(url)}' cannot be a remote: ${reason}`, {});
  if (url === '') throw wrong('it is empty: write a URL, host:path or a path');
  if (url.startsWith('-')) throw wrong("it begins with '-', as options do: write ./ in front of a path");
  if (CONTROL_PATTERN.test(url)) throw wrong('it has a control character in it');
  if (url !== url.trim()) throw wrong('it begins or ends with a space');
  if (HELPER_PATTERN.test(url))
    throw wrong(
      "it would have git run another program ('helper::'): write ssh://, https://, file:// or a path",
    );
  if (/^s3:(?!\/\/)/i.test(url))
    throw wrong('a bucket is written s3://BUCKET/PREFIX, and a path of a host of that name ssh://s3/PATH');
  return SCHEME_PATTERN.exec(url)?.[1]?.toLowerCase() === 's3' ? 's3' : 'git';
}

/** The path that a URL of this machine names; undefined for any other. As git decides (`url_is_local_not_ssh`). */
export function localPath(url: string): string | undefined {
  if (url.toLowerCase().startsWith('file://')) {
    try {
      return fileURLToPath(url);
    } catch {
      return undefined;
    }
  }
  if (SCHEME_PATTERN.test(url)) return undefined;
  const colon = url.indexOf(':');
  const slash = url.indexOf('/');
  return colon < 0 || (slash >= 0 && slash < colon) ? resolve(url) : undefined;
}

/** The address to be kept: paths absolute, and to the store itself where the folder around it is named. */
export function absoluteUrl(url: string): string {
  const path = localPath(url);
  if (path === undefined) return url;
  const inner = join(path, STORE_FOLDER);
  const meant = existsSync(inner) ? inner : path;
  return SCHEME_PATTERN.test(url) ? (meant === path ? url : pathToFileURL(meant).href) : meant;
}

/** Whether a URL names a folder of this machine, reached without a server. */
export function isLocal(url: string): boolean {
  return localPath(url) !== undefined;
}

/** A URL to be shown: without password, and without a name too where that may be a token. */
export function withoutCredentials(url: string): string {
  return url.replace(/^([A-Za-z][A-Za-z0-9+.-]*:\/\/)([^/?#]*)@/, (_, scheme: string, user: string) => {
    const isSsh = /ssh/i.test(scheme);
    return isSsh ? `${scheme}${user.split(':')[0]}@` : scheme;
  });
}
