/**
 * Joins the modules of a build.
 *
 * @module
 */
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { rolldown } from 'rolldown';

/** The start file of the worker threads. */
const THREAD = 'store/workers/thread.js';

/**
 * Puts one file for each way into a build in the place of its modules: the commands, the `index.js` of every folder and the start of the worker threads. What several of them
 * use is in files below `chunks/`, so that it is loaded once. Packages are left as they are.
 * @param {string} dist folder of the build
 * @param {readonly string[]} commands paths of the commands from the folder above it
 */
export async function joinModules(dist, commands) {
  const faces = readdirSync(dist)
    .map((name) => `${name}/index.js`)
    .filter((path) => existsSync(join(dist, path)));
  const own = commands.map((command) => relative(dist, resolve(dist, '..', command)));
  const entries = [...own, ...faces, THREAD];
  const output = mkdtempSync(`${dist}-`);
  try {
    const build = await rolldown({
      input: Object.fromEntries(entries.map((path) => [path.slice(0, -'.js'.length), join(dist, path)])),
      platform: 'node',
      external: (id) => !id.startsWith('.') && !id.startsWith('/'),
    });
    await build.write({ dir: output, format: 'esm', chunkFileNames: 'chunks/[name]-[hash].js' });
    await build.close();
    for (const path of readdirSync(dist, { recursive: true, encoding: 'utf8' }))
      if (path.endsWith('.js')) rmSync(join(dist, path));
    cpSync(output, dist, { recursive: true });
  } finally {
    rmSync(output, { recursive: true, force: true });
  }
}
