/**
 * Random reads from a committed disk.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readMounted } from './mount.mjs';
import { filledPlace } from './places.mjs';
import { prepare } from './prepare.mjs';
import { imgstore, PEERS, packagesOf } from './tools.mjs';

const READER = fileURLToPath(new URL('random-reads.mjs', import.meta.url));
const READS = 2000;
const READ_BYTES = 64 * 1024;
const MOUNTABLE = PEERS.filter(({ mount }) => mount !== undefined);

/**
 * imgstore reads the disk by its library; peers show the image file that they stored with FUSE, and the file itself is the limit of all.
 * @param {() => import('./jobs.mjs').Disks} disks
 * @returns {import('./jobs.mjs').Job}
 */
export function randomReadJob(disks) {
  return {
    name: 'random 64 KiB reads',
    packages: packagesOf(MOUNTABLE),
    wished: ['fuse3', 'python3-pyfuse3'],
    bytes: () => READS * READ_BYTES,
    contenders: [
      {
        name: imgstore.name,
        round: (work) => {
          const place = filledPlace(work, imgstore, disks().first);
          prepare([place]);
          return read('store', place, 'disk');
        },
      },
      {
        name: '(the plain file)',
        round: () => {
          prepare([disks().first]);
          return read('file', disks().first);
        },
      },
      ...MOUNTABLE.map((tool) => ({
        name: `${tool.name}, mount`,
        isPeer: true,
        round: (/** @type {string} */ work) => mountAndRead(tool, work, disks().first),
      })),
    ],
  };
}

/** @param {import('./tools.mjs').Tool} tool @param {string} work @param {string} image */
async function mountAndRead(tool, work, image) {
  const place = filledPlace(work, tool, image);
  const at = join(work, 'mounted');
  prepare([place]);
  return readMounted(tool.mount(place, 'first', at), at, image, (file) => read('file', file));
}

/** @param {readonly string[]} what @returns {import('./jobs.mjs').Sample} */
function read(...what) {
  const args = [READER, ...what, String(READS)];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${args.join(' ')}: exit code ${status}\n${stderr}`);
  const { seconds, peakBytes } = JSON.parse(stdout);
  return { seconds, peakBytes };
}
