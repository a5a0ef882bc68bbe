import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readTree, writeTree } from './file-tree.ts';
import { Judge } from './judge.ts';
import { quickFolder } from './quick-folder.ts';
import { sampleHistory } from './sample-history.ts';
import { startWithFault } from './start-with-fault.ts';
import { WRITING_VERBS } from './verbs.ts';

/** Of a verb's points one in so many, as each takes a process; in the long form every one. */
const STEP = process.env.IMGSTORE_LONG === '1' ? 1 : 23;
/** The first point differs from verb to verb. */
const SHIFT = 5;

let kills = 0;

afterAll(() => {
  console.log(`kill sweep: ${kills} processes killed over ${WRITING_VERBS.length} verbs`);
});

test.for(WRITING_VERBS)(
  '$name leaves a whole store when its process is killed',
  { timeout: 0 },
  async (verb) => {
    const folder = await quickFolder();
    const history = await sampleHistory(verb);
    const judge = await Judge.create(verb, history, join(folder, 'scratch'));
    const place = join(folder, 'run');
    const complaints: string[] = [];
    for (let n = (WRITING_VERBS.indexOf(verb) * SHIFT) % STEP; ; n += STEP) {
      rmSync(place, { recursive: true, force: true });
      writeTree(place, history.tree);
      const end = await startWithFault(place, `kill@${n}`, verb.args).end;
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
