import { readdir, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Folders that a removed ref leaves empty would be in the way of a ref of their name. */
export async function removeEmptyFolders(root: string, name: string): Promise<void> {
  for (let folder = dirname(name); folder.split('/').length > 2; folder = dirname(folder)) {
    try {
      await rmdir(join(root, folder));
    } catch {
      return;
    }
  }
}

/** Removes a folder in which there are folders only; one that has a file stays, with all above it. */
export async function removeEmptyTree(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeEmptyTree(join(folder, entry.name));
  await rmdir(folder).catch(() => {});
}
