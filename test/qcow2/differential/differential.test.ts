import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { CheckReport } from '../../../qcow2/index.ts';
import { checkBoth, compareCounts, compareReading, type Verdicts } from './compare.ts';
import { damage } from './damage.ts';
import { generateImage } from './generate.ts';
import { Random } from './random.ts';

/*
 * Images by chance, each judged by QEMU and by imgstore. One seed makes one image:
 *
 *   IMGSTORE_SEED=123 IMGSTORE_COUNT=1 npx vitest run test/qcow2/differential
 */
const LONG = process.env.IMGSTORE_LONG === '1';
const SEED = Number(process.env.IMGSTORE_SEED ?? 1);
const COUNT = Number(process.env.IMGSTORE_COUNT ?? (LONG ? 400 : 40));
/** Damaged copies of each image. */
const COPIES = LONG ? 5 : 2;
/** No image, however damaged, may take longer to check. */
const MAX_CHECK_MS = 5000;
/** Seeds that one test works off. */
const BATCH = 10;

const tally: Record<string, number> = {};
const count = (what: string) => {
  tally[what] = (tally[what] ?? 0) + 1;
};

describe('images by chance', () => {
  const batches = Array.from({ length: Math.ceil(COUNT / BATCH) }, (_, i) => SEED + i * BATCH);
  it.each(batches)('are for imgstore what they are for QEMU, from seed %i on', async (first) => {
    const failures: string[] = [];
    const last = Math.min(first + BATCH, SEED + COUNT) - 1;
    for (let seed = first; seed <= last; seed += 2) {
      // Two at a time: most of it is waiting for QEMU.
      const pair = seed < last ? [seed, seed + 1] : [seed];
      failures.push(...(await Promise.all(pair.map(judge))).flat());
    }
    expect(failures.join('\n')).toBe('');
  });

  afterAll(() => {
    process.stdout.write(`differential: seed ${SEED}, ${COUNT} images, ${JSON.stringify(tally)}\n`);
  });
});

/** Everything that is compared for one seed. @returns what differs. */
async function judge(seed: number): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'imgstore-differential-'));
  const random = new Random(seed);
  const failures: string[] = [];
  let commands: readonly string[] = [];
  const attempt = async (what: string, work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      failures.push(`seed ${seed}: ${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  try {
    await attempt('generate', async () => {
      const image = await generateImage(random, folder);
      commands = image.commands;
      await attempt('read', () => compareReading(random, folder, image.path));
      await attempt('check', () => compareCheck(folder, image.path, 'whole'));
      for (let copy = 0; copy < COPIES; copy++) {
        const { bytes, what } = await damage(random, image.path);
        const path = join(folder, 'damaged.qcow2');
        await writeFile(path, bytes);
        await attempt(what, () => compareCheck(folder, path, 'damaged'));
      }
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  if (failures.length > 0) failures.push(...commands);
  return failures;
}

/** Where imgstore means to judge otherwise than QEMU. */
function isKnownDifference({ ours, why, qemuSays }: Verdicts): boolean {
  return (
    // A rule of imgstore's: numbers above 2^53 in a header or a snapshot table are refused. QEMU takes sizes that no
    // disk has, and walks what it can where an offset is one.
    /is above 2\^53/.test(why) ||
    // The specification lets bitmaps have extra data; QEMU has never read any.
    (ours !== 1 &&
      /Bitmap extra data is not supported|bitmap.*doesn't satisfy the constraints/.test(qemuSays)) ||
    // The place of a snapshot table means nothing to the specification when there are no snapshots.
    (ours !== 1 && /snapshot table offset invalid/.test(qemuSays))
  );
}

/**
 * QEMU goes on into an L2 table that is not aligned and counts what it takes for entries; imgstore does not. Where
 * not all findings are kept there may be one.
 */
function mayHaveUnalignedTable(report: CheckReport | undefined): boolean {
  return (
    report !== undefined &&
    (report.omittedFindings > 0 ||
      report.findings.some(({ message }) => /^entry \d+ of the L1 .* not a multiple/.test(message)))
  );
}

async function compareCheck(folder: string, path: string, kind: string): Promise<void> {
  const before = performance.now();
  const both = await checkBoth(folder, path);
  count(`${kind} ${both.theirs}`);
  if (both.ours !== both.theirs && isKnownDifference(both)) return count('known difference');
  if (both.theirs !== -1 && both.ours !== both.theirs) {
    throw new Error(
      `exit code ${both.ours}, not ${both.theirs}: ${both.why} ${JSON.stringify(both.report)} ${both.qemuSays}`,
    );
  }
  if (both.ours !== 1 && !mayHaveUnalignedTable(both.report)) compareCounts(both);
  if (both.theirs !== -1 && performance.now() - before > 2 * MAX_CHECK_MS) throw new Error('took too long');
}
