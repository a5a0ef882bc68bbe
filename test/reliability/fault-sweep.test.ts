import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { faultRuns, withFaultAt } from './faults.ts';
import { readTree, writeTree } from './file-tree.ts';
import { Judge } from './judge.ts';
import { quickFolder } from './quick-folder.ts';
import { type Ending, runHere } from './run-here.ts';
import { sampleHistory } from './sample-history.ts';
import { WRITING_VERBS } from './verbs.ts';

const LONG = process.env.IMGSTORE_LONG === '1';

let faults = 0;

afterAll(() => {
  console.log(`fault sweep: ${faults} faults over ${WRITING_VERBS.length} verbs`);
});

test.for(WRITING_VERBS)('$name leaves a whole store wherever a call fails', { timeout: 0 }, async (verb) => {
  const folder = await quickFolder();
  const history = await sampleHistory(verb);
  const judge = await Judge.create(verb, history, join(folder, 'scratch'));
  const complaints: string[] = [];
  for (const kindAt of faultRuns(LONG)) {
    for (let n = 0; ; n++) {
      const kind = kindAt(n);
      const place = join(folder, 'run');
      rmSync(place, { recursive: true, force: true });
      writeTree(place, history.tree);
      let ending: Ending | undefined;
      const struck = await withFaultAt(n, kind, async () => {
        ending = await runHere(place, ...verb.args);
      });
      if (struck === undefined) break;
      faults++;
      const name = `${kind.name} at ${n} (${struck})`;
      const told = ending!.status === 1 && /^imgstore: [^\n]+\n$/.test(ending!.stderr);
      if (ending!.status !== 0 && (!told || ending!.stderr.includes('unexpected error')))
        complaints.push(`${verb.name}, ${name}: exit code ${ending!.status}: ${ending!.stderr}`);
      complaints.push(
        ...(await judge.complaints({ tree: readTree(place), name, done: ending!.status === 0 })),
      );
    }
  }
  expect(complaints).toEqual([]);
});
