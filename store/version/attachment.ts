import { ImgstoreError } from '../../errors/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { Version } from './version.ts';

/** The bytes of a file that was attached to a version. @throws ImgstoreError `NOT_FOUND` naming the files there are. */
export async function readAttachment(
  database: ObjectDatabase,
  version: Version,
  name: string,
): Promise<Uint8Array> {
  const file = version.files.find((each) => each.name === name);
  if (file !== undefined) return database.readBroughtAs('blob', file.id);
  const names = version.files.map((each) => each.name).join(', ');
  const has = names === '' ? 'it has none' : `it has ${names}`;
  throw new ImgstoreError(
    'NOT_FOUND',
    `version ${version.id.slice(0, 12)} has no attachment '${name}': ${has}`,
    { name },
  );
}
