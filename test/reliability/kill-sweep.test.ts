import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { PROGRAM, Workplace } from '../cmd/imgstore.ts';
import { readTree, writeTree } from './file-tree.ts';
import { Judge } from './judge.ts';
import { quickFolder } from './quick-folder.ts';
import { ENVIRONMENT } from './run-here.ts';
import { sampleHistory } from './sample-history.ts';
import { WRITING_VERBS } from './verbs.ts';

const PRELOAD = fileURLToPath(new URL('fault-preload.mjs', import.meta.url));

/** Of a verb's points one in so many, as each takes a process; in the long form every one. */
const STEP = process.env.IMGSTORE_LONG === '1' ? 1 : 23;
/** The first point differs from verb to verb. */
const SHIFT = 5;

let kills = 0;

afterAll(() => {
  console.log(`kill sweep: ${kills} processes killed over ${WRITING_VERBS.length} verbs`);
});

/** Runs a command line with a fault. Returns its exit code, or the signal that has ended it. */
function runWithFault(
  folder: string,
  fault: string,
  args: readonly string[],
): Promise<number | string | null> {
  const env = { ...new Workplace(folder).environment, ...ENVIRONMENT, IMGSTORE_TEST_FAULT: fault };
  const child = spawn(process.execPath, ['--import', PRELOAD, PROGRAM, ...args], {
    cwd: folder,
    env,
    stdio: 'ignore',
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve(signal ?? status));
  });
}

test.for(WRITING_VERBS)(
  '$name leaves a whole store when its process is killed',
  { timeout: 0 },
  async (verb) => {
    const folder = await quickFolder();
    const history = await sampleHistory();
    const judge = await Judge.create(verb, history, join(folder, 'scratch'));
    const place = join(folder, 'run');
    const complaints: string[] = [];
    for (let n = (WRITING_VERBS.indexOf(verb) * SHIFT) % STEP; ; n += STEP) {
      rmSync(place, { recursive: true, force: true });
      writeTree(place, history.tree);
      const end = await runWithFault(place, `kill@${n}`, verb.args);
      if (end === 'SIGKILL') {
        kills++;
        complaints.push(
          ...(await judge.complaints({ tree: readTree(place), name: `kill at ${n}`, killed: true })),
        );
      } else {
        expect(end).toBe(0);
        break;
      }
    }
    expect(complaints).toEqual([]);
  },
);
