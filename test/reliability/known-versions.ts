import { Store } from '../../store/index.ts';
import { diskBytes } from '../store/commit/disk-bytes.ts';
import { digestOf } from './sample-history.ts';

/** Digests of disks by revision: branches, tags, ids. */
export type KnownVersions = ReadonlyMap<string, string>;

/**
 * The versions that do not come back as they were, with what reading them says, and notices of damage.
 * @param expected notices that are no complaint
 */
export async function changedVersions(
  folder: string,
  versions: KnownVersions,
  expected = /^$/,
): Promise<string[]> {
  const complaints: string[] = [];
  const onNotice = (text: string) => {
    if (!expected.test(text)) complaints.push(text);
  };
  const store = await Store.open(folder, { onNotice });
  try {
    for (const [revision, digest] of versions) {
      const now = await diskBytes(store, revision).then(digestOf, String);
      if (now !== digest) complaints.push(`${revision}: ${now}`);
    }
  } finally {
    store.close();
  }
  return complaints;
}
