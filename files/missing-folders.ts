import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { systemCode } from '../errors/index.ts';

/**
 * Makes a folder and those above it, as `mkdir` of Node with `recursive` does, which never ends where a file system says of a folder in one that is there that the
 * one above is missing, as `/proc` does (Node 20 and 22, `MKDirpAsync` in `src/node_file.cc`): it makes that again and again.
 * @returns path of the first folder that was made; undefined when all were there
 * @throws the system's error
 */
export async function makeMissingFolders(path: string): Promise<string | undefined> {
  const folder = resolve(path);
  try {
    return await makeOne(folder);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT' || dirname(folder) === folder) throw error;
  }
  const first = await makeMissingFolders(dirname(folder));
  const made = await makeOne(folder);
  return first ?? made;
}

/** Undefined when it is there. */
async function makeOne(folder: string): Promise<string | undefined> {
  try {
    await mkdir(folder);
    return folder;
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || !(await isFolder(folder))) throw error;
    return undefined;
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}
