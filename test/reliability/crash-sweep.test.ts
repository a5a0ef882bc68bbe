import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { watchPoints } from '../../files/index.ts';
import { Random } from '../qcow2/differential/random.ts';
import { asOfDeadProcess } from './dead-owner.ts';
import { readTree, writeTree } from './file-tree.ts';
import { Judge, type Remains } from './judge.ts';
import { DurableFolder } from './power-failure.ts';
import { quickFolder } from './quick-folder.ts';
import { runHere } from './run-here.ts';
import { sampleHistory } from './sample-history.ts';
import { WRITING_VERBS, type WritingVerb } from './verbs.ts';

/** Of what chance keeps in a failure of the power; each run may take another. */
const SEED = Number(process.env.IMGSTORE_SEED ?? 1);

/** Tries more of what a failure of the power can leave. */
const LONG = process.env.IMGSTORE_LONG === '1';

let crashes = 0;

afterAll(() => {
  console.log(`crash sweep: ${crashes} kills and failures of the power over ${WRITING_VERBS.length} verbs`);
});

/** Runs a verb once and notes what is there at each point that it passes, and at its end: all that a kill there leaves, and what a failure of the power may. */
async function collectRemains(verb: WritingVerb, place: string): Promise<Remains[]> {
  const remains: Remains[] = [];
  const passed = new Set<string>();
  const random = new Random(SEED);
  const tree = readTree(place);
  const isChanged = (path: string) => path === verb.changes?.file && tree.entries.has(path);
  const durable = new DurableFolder(place, tree, isChanged);
  const note = (at: string, done: boolean) => {
    const tree = readTree(place);
    if (!done) remains.push({ tree, name: `kill at ${at}`, killed: true });
    for (const [i, left] of durable.afterFailure(tree, random, LONG).entries())
      remains.push({
        tree: left,
        name: `power ${i} at ${at}`,
        killed: true,
        powerFailed: true,
        done,
        once: !LONG && i > 0,
      });
    return tree;
  };
  const stop = watchPoints((point, path) => {
    passed.add(point);
    durable.pass(point, path, note(`${remains.length} ${point}`, false));
  });
  try {
    const { status, stderr } = await runHere(place, ...verb.args);
    expect({ status, stderr }).toMatchObject({ status: 0 });
  } finally {
    stop();
  }
  note('the end', true);
  durable.close();
  for (const point of verb.passes) expect([...passed]).toContain(point);
  return remains;
}

test.for(WRITING_VERBS)(
  '$name leaves a whole store wherever it is killed or the power fails',
  { timeout: 0 },
  async (verb) => {
    const folder = await quickFolder();
    const place = join(folder, 'run');
    const history = await sampleHistory(verb);
    const judge = await Judge.create(verb, history, join(folder, 'scratch'));
    writeTree(place, history.tree);
    const complaints: string[] = [];
    for (const remains of await collectRemains(verb, place)) {
      crashes++;
      complaints.push(...(await judge.complaints({ ...remains, tree: asOfDeadProcess(remains.tree) })));
    }
    expect(complaints).toEqual([]);
  },
);
