import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../differential/random.ts';
import { packCase, runCase, unpackCase } from './fuzz.ts';
import { Mutator } from './mutate.ts';
import { makeSeeds, type Seed } from './seeds.ts';

/*
 * Valid images of every kind, damaged by chance where it means something. One seed makes one case:
 *
 *   IMGSTORE_SEED=123 IMGSTORE_FUZZ_COUNT=1 npx vitest run test/qcow2/fuzz
 *
 * `npm run fuzz` goes on for IMGSTORE_FUZZ_SECONDS and keeps what it finds in regressions/.
 */
const SEED = Number(process.env.IMGSTORE_SEED ?? 1);
const SECONDS = Number(process.env.IMGSTORE_FUZZ_SECONDS ?? 0);
const COUNT = Number(process.env.IMGSTORE_FUZZ_COUNT ?? (SECONDS > 0 ? Number.POSITIVE_INFINITY : 2000));
/** Findings that end a run. */
const MAX_FINDINGS = 20;
const REPORT_SECONDS = 60;
const REGRESSIONS = new URL('regressions/', import.meta.url);

let seeds: readonly Seed[] = [];
beforeAll(async () => {
  seeds = await makeSeeds();
});

describe('a damaged image', () => {
  it('is one that was good before', async () => {
    for (const { name, bytes } of seeds) {
      const { finding, read } = await runCase(bytes);
      expect({ name, finding }).toEqual({ name, finding: undefined });
      // Opened, both ends, at least one extent, checked.
      expect(read, name).toBeGreaterThanOrEqual(5);
    }
  });

  it(
    'gives an error or bytes, within bounds of time and memory',
    async () => {
      const mutator = new Mutator(seeds);
      const findings: string[] = [];
      const start = performance.now();
      const seconds = () => (performance.now() - start) / 1000;
      let cases = 0;
      let read = 0;
      let reported = 0;
      const report = () =>
        process.stdout.write(
          `fuzz: seed ${SEED}, ${cases} cases, ${seconds().toFixed(0)} s, ${read} parts read, ${findings.length} findings\n`,
        );
      while (cases < COUNT && findings.length < MAX_FINDINGS && (SECONDS === 0 || seconds() < SECONDS)) {
        const number = SEED + cases++;
        const { name, bytes } = mutator.mutate(new Random(number));
        const outcome = await runCase(bytes);
        read += outcome.read;
        if (outcome.finding !== undefined) {
          findings.push(`seed ${number} (${name}): ${outcome.finding}`);
          process.stdout.write(`fuzz: ${findings.at(-1)}\n`);
          if (SECONDS > 0) writeFileSync(new URL(`${name}-${number}.txt`, REGRESSIONS), packCase(bytes));
        }
        if (seconds() - reported > REPORT_SECONDS) {
          reported = seconds();
          report();
        }
      }
      report();
      expect(findings.join('\n')).toBe('');
    },
    SECONDS * 1000 + 600_000,
  );

  const kept = readdirSync(fileURLToPath(REGRESSIONS)).filter((name) => name.endsWith('.txt'));
  it.each(kept)('%s, which was a finding once, is none', async (name) => {
    const outcome = await runCase(unpackCase(readFileSync(new URL(name, REGRESSIONS), 'latin1')));
    expect(outcome.finding).toBeUndefined();
  });
});
