import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type FileRules, writeWholeFile } from '../../files/index.ts';
import { isId } from '../../objects/index.ts';
import type { RemotePack } from '../../remote/index.ts';

/** Which packs a lazy clone's bucket had when it was looked at last. @throws ImgstoreError `IO`. */
export async function writePackList(
  path: string,
  packs: readonly RemotePack[],
  { sharing }: FileRules,
): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeWholeFile('remote-packs', path, Buffer.from(JSON.stringify(packs)), sharing);
}

/** What {@link writePackList} has written; undefined when there is none, or it is lost. */
export async function readPackList(path: string): Promise<readonly RemotePack[] | undefined> {
  try {
    return (JSON.parse(await readFile(path, 'utf8')) as RemotePack[]).filter(({ pack }) => isId(pack));
  } catch {
    return undefined;
  }
}
