import type { KeyFiles } from './key-file.ts';
import type { AgeKeys } from './keys.ts';

/**
 * Reads the keys of an encrypted bucket from files in age's formats. The package for it is loaded here, as most verbs need no key.
 * @throws ImgstoreError `USAGE` for a bad line, which is named and not shown, and for keys that could not read what they write;
 *   `NOT_FOUND`, `IO`.
 */
export async function openKeys(files: KeyFiles): Promise<AgeKeys> {
  const { readKeys } = await import('./keys.ts');
  return readKeys(files);
}
