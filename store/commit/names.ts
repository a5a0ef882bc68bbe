import { basename } from 'node:path';
import { ImgstoreError } from '../../errors/index.ts';
import { isNbdUri, parseNbdUri } from '../../nbd/index.ts';
import { branchFromFile } from '../refs/name.ts';

/**
 * The branch of a disk when none is named: after the file, or after the export of an NBD server.
 * @param path of a file, or an NBD URI
 * @throws ImgstoreError `USAGE` for an export without a name
 */
export function defaultBranch(path: string): string {
  if (!isNbdUri(path)) return branchFromFile(path);
  const { exportName } = parseNbdUri(path);
  if (exportName !== '') return branchFromFile(exportName);
  throw new ImgstoreError(
    'USAGE',
    `${path}: its export has no name that a branch could have: name one with --branch`,
    {
      uri: path,
    },
  );
}

/** What a disk is called in a message, without folders, hosts and sockets. @throws ImgstoreError `USAGE` for a bad URI */
export function sourceTitle(path: string): string {
  if (!isNbdUri(path)) return basename(path);
  const { exportName } = parseNbdUri(path);
  return exportName === '' ? 'an NBD export' : `the NBD export ${exportName}`;
}
