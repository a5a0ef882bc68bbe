import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fromSystem, ImgstoreError, shellWord, systemCode } from '../../errors/index.ts';

/**
 * Refuses a store that takes objects from other folders (git: `objects/info/alternates`, as `git clone --shared` and `--reference` make it), which
 * imgstore does not look into. `http-alternates` is for git's own transfers and says nothing of what is read here.
 * @param folder the `objects/` folder
 * @throws ImgstoreError `UNSUPPORTED`, `IO`
 */
export function refuseAlternates(folder: string): void {
  const path = join(folder, 'info', 'alternates');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return;
    throw fromSystem(error, path);
  }
  const other = text.split('\n').find((line) => line.trim() !== '' && !line.startsWith('#'));
  if (other === undefined) return;
  throw new ImgstoreError(
    'UNSUPPORTED',
    `${path}: the store takes objects from ${other}: remove this file after git -C ${shellWord(dirname(folder))} repack -ad`,
    { path, other },
  );
}
