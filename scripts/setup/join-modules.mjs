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

/** What marks the way in through a folder's `index.js`. */
const FACE = 'face:';

/**
 * What goes together into one file, first match first, by path in the build: what all need; what the command line needs before a verb is known; what most ways in need; what verbs print
 * with; what reads versions; the jobs of the worker threads; what reads images; what changes a store. Without them each set of ways in that has something in common would have a file of
 * its own, three dozen for `imgstore commit`. What is for the command line stays apart, as libraries and worker threads would load its packages with it; so does what starts the
 * threads. `minShareCount` is how many ways in need the module.
 */
const TOGETHER = [
  { name: 'base', path: /^(errors|block\/size)\b/ },
  { name: 'start', path: /^cmd\/(arguments|exit-code|report-error|signals)\b/ },
  { name: 'common', path: /^(?!cmd\/)/, minShareCount: 14 },
  // A table brings its package, which verbs that print none should not load.
  { name: 'verbs', path: /^cmd\/(?!table\b)/, minShareCount: 8 },
  { name: 'versions', path: /^store\/(history|version)\//, minShareCount: 5 },
  { name: 'jobs', path: /^(block\/zero|objects|pack|store\/workers\/(?!pool|threads))/, minShareCount: 3 },
  { name: 'image-files', path: /^(qcow2\/(?!writer)|nbd|block|store\/(foreign|commit))/, minShareCount: 4 },
  {
    name: 'changes',
    path: /^store\/(objects|pack|workers|batches|ordered-map|person|refs|version)/,
    minShareCount: 3,
  },
];

/**
 * Puts one file for each way into a build in the place of its modules: the commands and what they load when it is needed, the `index.js` of every folder and the start of the worker
 * threads. What several of them use is in files below `chunks/`, so that it is loaded once, and a way in loads little that it does not use; threads have their own. Packages are left as they are.
 * @param {string} dist folder of the build
 * @param {readonly string[]} commands paths of the commands from the folder above it
 */
export async function joinModules(dist, commands) {
  const faces = readdirSync(dist)
    .map((name) => `${name}/index.js`)
    .filter((path) => existsSync(join(dist, path)));
  const own = commands.map((command) => relative(dist, resolve(dist, '..', command)));
  const entry = (path, mark = '') => [path.slice(0, -'.js'.length), `${mark}${join(dist, path)}`];
  const output = mkdtempSync(`${dist}-`);
  try {
    const ways = [...own.map((path) => entry(path)), ...faces.map((path) => entry(path, FACE))];
    const groups = TOGETHER.map((group, i) => splitting(dist, group, TOGETHER.length - i));
    await write(output, ways, 'chunks', { groups });
    // Threads share nothing with the rest: from what most others need they would load 200 KB in vain, and modules of Node that do not start fast. A thread is up 10 ms earlier for it, and a
    // commit of 712 MiB of known bytes took 0.68 s instead of 0.79.
    await write(output, [entry(THREAD)], 'store/workers/chunks');
    for (const path of readdirSync(dist, { recursive: true, encoding: 'utf8' }))
      if (path.endsWith('.js')) rmSync(join(dist, path));
    cpSync(output, dist, { recursive: true });
  } finally {
    rmSync(output, { recursive: true, force: true });
  }
}

async function write(output, ways, chunks, codeSplitting) {
  const build = await rolldown({
    input: Object.fromEntries(ways),
    platform: 'node',
    external: (id) => !id.startsWith('.') && !id.startsWith('/') && !id.startsWith(FACE),
    plugins: [besideFaces()],
    // No module does anything by being loaded, but for the commands: what of a folder is not used can be left out.
    treeshake: { moduleSideEffects: false },
  });
  await build.write({
    dir: output,
    format: 'esm',
    chunkFileNames: `${chunks}/[name]-[hash].js`,
    ...(codeSplitting === undefined ? {} : { codeSplitting }),
  });
  await build.close();
}

/** An `index.js` that were a way in itself would bring all of its folder to whoever imports one thing from it; so the way in is a module beside it. */
function besideFaces() {
  return {
    name: 'beside-faces',
    resolveId: (id) => (id.startsWith(FACE) ? id : undefined),
    load: (id) =>
      id.startsWith(FACE) ? `export * from ${JSON.stringify(id.slice(FACE.length))};` : undefined,
  };
}

function splitting(dist, { path, ...group }, priority) {
  return { ...group, priority, test: (id) => !id.startsWith(FACE) && path.test(relative(dist, id)) };
}
