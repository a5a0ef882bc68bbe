import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join, relative } from 'node:path';

/**
 * Every file and folder of a store with size and digest, one a line: what an operation that failed must not change. The stat
 * cache is left out, as it can be rebuilt.
 */
export async function listStore(folder: string): Promise<string[]> {
  const lines: string[] = [];
  const cache = join(folder, 'imgstore', 'index');
  const open = [folder];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    for (const entry of await readdir(at, { withFileTypes: true })) {
      const path = join(at, entry.name);
      if (path === cache) continue;
      if (entry.isDirectory()) open.push(path);
      lines.push(`${relative(folder, path)} ${await describe(path)}`);
    }
  }
  return lines.sort();
}

async function describe(path: string): Promise<string> {
  const stats = await lstat(path);
  if (stats.isDirectory()) return 'folder';
  if (stats.isSymbolicLink()) return `link ${await readlink(path)}`;
  return `${stats.size} ${createHash('sha256')
    .update(await readFile(path))
    .digest('hex')}`;
}

/** Files and locks of {@link listStore} that are left from work in progress. */
export function unfinished(files: readonly string[]): string[] {
  return files.filter((line) => /tmp|\.lock /.test(line));
}
