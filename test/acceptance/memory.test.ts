import { open, readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { type Outcome, Workplace } from '../cmd/imgstore.ts';
import { noise } from '../objects/noise.ts';
import { qemuCheck } from '../qcow2/qemu.ts';
import { allocated } from './system.ts';

const MIB = 2 ** 20;
const MOST_BYTES = 300 * MIB;

/** Writes a sparse file with pieces of 1 MiB, some at both ends and the others spread evenly. */
async function writeSparseDisk(path: string, size: number, pieces: number): Promise<void> {
  const file = await open(path, 'wx');
  await file.truncate(size);
  for (let i = 0; i < pieces; i++) {
    const at = Math.floor(((size - MIB) * i) / (pieces - 1) / MIB) * MIB;
    await file.write(noise(MIB, i), 0, MIB, at);
  }
  await file.close();
}

/** Runs imgstore and measures how much memory its process had at most: Node tells it at the end, of all threads together. */
async function measured(
  place: Workplace,
  ...args: readonly string[]
): Promise<Outcome & { readonly peakBytes: number }> {
  const report = place.path('peak');
  const code = `import { isMainThread } from 'node:worker_threads';
import { writeFileSync } from 'node:fs';
if (isMainThread) process.on('exit', () => writeFileSync(${JSON.stringify(report)}, String(process.resourceUsage().maxRSS)));`;
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` };
  const outcome = await place.start(args, { env }).finished;
  if (outcome.status !== 0) throw new Error(outcome.stderr);
  return { ...outcome, peakBytes: 1024 * Number(await readFile(report, 'utf8')) };
}

test.each([
  ['6 GiB', 6 * 2 ** 30, 160],
  ['1 TiB', 2 ** 40, 100],
])('commit and checkout of a disk of %s stay below 300 MB of memory', async (_name, size, pieces) => {
  const place = await Workplace.withStore();
  await writeSparseDisk(place.path('disk.raw'), size, pieces);
  const commit = await measured(place, 'commit', 'disk.raw', '--json');
  expect(commit.peakBytes).toBeLessThan(MOST_BYTES);
  expect(JSON.parse(commit.stdout).disks[0]).toMatchObject({ virtualSize: size, readBytes: pieces * MIB });

  const qcow2 = await measured(place, 'checkout', 'disk', '-o', 'back.qcow2');
  expect(qcow2.peakBytes).toBeLessThan(MOST_BYTES);
  await qemuCheck(place.path('back.qcow2'));
  const raw = await measured(place, 'checkout', 'disk', '-o', 'back.raw');
  expect(raw.peakBytes).toBeLessThan(MOST_BYTES);
  expect(await allocated(place.path('back.raw'))).toBeLessThan(1.05 * pieces * MIB);
  const compare = await measured(place, 'compare', 'disk', 'back.qcow2');
  expect(compare.peakBytes).toBeLessThan(MOST_BYTES);
});

test('the empty part of a disk costs no reads and no objects', async () => {
  const place = await Workplace.withStore();
  const counts = [];
  for (const [name, size] of [
    ['small', 10 * 2 ** 30],
    ['large', 2 ** 40],
  ] as const) {
    const file = await open(place.path(`${name}.raw`), 'wx');
    await file.truncate(size);
    await file.write(noise(4 * MIB, 1), 0, 4 * MIB, 64 * MIB);
    await file.write(noise(4 * MIB, 2), 0, 4 * MIB, 9 * 2 ** 30);
    await file.close();
    const { disks } = await place.json('commit', `${name}.raw`);
    counts.push({ clusters: disks[0].clusters, readBytes: disks[0].readBytes });
  }
  expect(counts[0]).toEqual({ clusters: 128, readBytes: 8 * MIB });
  expect(counts[1]).toEqual(counts[0]);
  expect(await place.json('map', 'large')).toHaveLength(5);
});
