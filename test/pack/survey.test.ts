import { expect, onTestFinished, test } from 'vitest';
import { objectId } from '../../objects/index.ts';
import { Pack, PackSurvey } from '../../pack/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { mixed } from '../objects/noise.ts';
import { type CraftedEntry, craftPack, deltaEntry, wholeEntry } from './craft-pack.ts';
import { deltaOf } from './delta/encode-delta.ts';
import { versions, writeChains } from './delta-pack.ts';

const DATA = mixed(300, 1);
const DELTA = deltaOf(DATA, [{ copy: 0, length: DATA.length }]);

async function craft(entries: readonly CraftedEntry[]): Promise<Pack> {
  return open(craftPack(await temporaryFolder(), entries).stem);
}

function open(stem: string): Pack {
  const pack = new Pack(stem);
  onTestFinished(() => pack.close());
  return pack;
}

const idOf = (n: number) => n.toString(16).padStart(64, '0');

test('PackSurvey has the types and depths that the pack finds entry by entry', async () => {
  const folder = await temporaryFolder();
  const pack = open(await writeChains(folder, [versions(9, 1), versions(1, 2), versions(4, 3)]));
  const survey = new PackSurvey(pack);
  expect(survey.faults).toEqual([]);
  for (let position = 0; position < pack.idx.count; position++) {
    expect(survey.type(position)).toBe(pack.header(position).type);
    expect(survey.depth[position]).toBe(pack.depth(position));
    expect(pack.sizeAt(pack.idx.offset(position))).toBe(pack.header(position).size);
  }
});

test('PackSurvey follows chains as deep as git makes them and no deeper, whatever comes first', async () => {
  // By ids that ascend with the depth, and that descend.
  for (const idAt of [(n: number) => idOf(n), (n: number) => idOf(10_000 - n)]) {
    const whole = wholeEntry(idAt(0), 'blob', DATA);
    const deltas = Array.from({ length: 4200 }, (_, n) => deltaEntry(idAt(n + 1), idAt(n), DELTA));
    const pack = await craft([whole, ...deltas]);
    const survey = new PackSurvey(pack);
    const at = (n: number) => pack.idx.find(idAt(n))!;
    for (const n of [0, 1, 2000, 4095])
      expect([survey.type(at(n)), survey.depth[at(n)]]).toEqual(['blob', n]);
    for (const n of [4096, 4200]) expect(survey.type(at(n))).toBeUndefined();
    expect(survey.faults).toHaveLength(4200 - 4095);
  }
});

test('PackSurvey names each entry that leads into a circle or to nothing, however many there are', async () => {
  const many = 20_000;
  const circle = Array.from({ length: many }, (_, n) =>
    deltaEntry(idOf(n), idOf(n === many - 1 ? many / 2 : n + 1), DELTA),
  );
  const lost = Array.from({ length: many }, (_, n) => deltaEntry(idOf(many + n), idOf(many + n + 1), DELTA));
  const whole = wholeEntry(objectId('blob', DATA), 'blob', DATA);
  const pack = await craft([...circle, ...lost, whole]);
  const survey = new PackSurvey(pack);
  expect(survey.faults).toHaveLength(2 * many);
  expect(survey.faults[0]).toMatchObject({
    code: 'DAMAGED',
    message: expect.stringMatching(/pack-0123\.pack: entry at \d+: its/),
  });
  expect(survey.type(pack.idx.find(whole.id)!)).toBe('blob');
});
