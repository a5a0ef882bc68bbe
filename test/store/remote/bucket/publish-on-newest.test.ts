import { expect, test } from 'vitest';
import { objectId } from '../../../../objects/index.ts';
import { RemoteStates } from '../../../../remote/index.ts';
import { UploadJournal } from '../../../../store/remote/bucket/journal.ts';
import { publishOnNewest } from '../../../../store/remote/bucket/publish-on-newest.ts';
import { packRow } from '../../../remote/layout/contents.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { newStore } from '../../new-store.ts';

const ADVICE = { advice: 'try again later' };

async function filled() {
  const { store, path } = await newStore();
  const bucket = new MemoryBucket();
  const states = new RemoteStates(bucket);
  const { content } = await states.newest();
  const journal = await UploadJournal.open(store, `${path}/journal.json`, bucket, content);
  await journal.add(packRow(1), Date.now());
  // Somebody else's push.
  const overtake = async () => {
    const newest = await states.newest();
    const name = `refs/heads/b${newest.number}`;
    return (await states.publish(newest, { refs: [{ name, id: objectId('blob', Buffer.from(name)) }] }))!;
  };
  return { states, journal, overtake, remote: { bucket, states } };
}

test('publishOnNewest makes the state after the newest and clears the journal when nobody is faster', async () => {
  const { remote, states, journal, overtake } = await filled();
  await overtake();
  const made = await publishOnNewest(remote, journal, ADVICE, () => ({ added: journal.packs }));
  expect(made.number).toBe(2);
  const { number, content } = await states.newest();
  expect(number).toBe(2);
  expect([...content.packs.values()]).toEqual([packRow(1)]);
  expect(content.refs.size).toBe(1);
  expect(journal.packs).toEqual([]);
});

test('publishOnNewest decides again on what there is now when somebody else was faster', async () => {
  const { remote, states, journal, overtake } = await filled();
  const met: number[] = [];
  const made = await publishOnNewest(remote, journal, ADVICE, async ({ number, content }) => {
    met.push(number);
    if (met.length <= 2) await overtake();
    return { head: `refs/heads/of-${content.refs.size}` };
  });
  expect(met).toEqual([0, 1, 2]);
  expect(made).toMatchObject({ number: 3, content: { head: 'refs/heads/of-2' } });
  expect((await states.newest()).content.refs.size).toBe(2);
});

test('publishOnNewest begins with the state that was seen, and reads the newest after a lost race', async () => {
  const { remote, states, journal, overtake } = await filled();
  const seen = await states.newest();
  await overtake();
  const met: number[] = [];
  await publishOnNewest(remote, journal, { ...ADVICE, seen }, ({ number }) => {
    met.push(number);
    return {};
  });
  expect(met).toEqual([0, 1]);
});

test('publishOnNewest publishes nothing and keeps the journal when the plan leaves all as it is', async () => {
  const { remote, states, journal } = await filled();
  const left = await publishOnNewest(remote, journal, ADVICE, () => 'leave');
  expect(left.number).toBe(0);
  expect((await states.newest()).number).toBe(0);
  expect(journal.packs).toEqual([packRow(1)]);
});

test('publishOnNewest plans anew when the plan says to look again', async () => {
  const { remote, journal, overtake } = await filled();
  const met: number[] = [];
  const made = await publishOnNewest(remote, journal, ADVICE, async ({ number }) => {
    met.push(number);
    if (met.length > 1) return {};
    await overtake();
    return 'look again';
  });
  expect(met).toEqual([0, 1]);
  expect(made.number).toBe(2);
});

test('publishOnNewest gives up with BUSY, and keeps the journal, when others always win', async () => {
  const { remote, journal, overtake } = await filled();
  let plans = 0;
  const publishing = publishOnNewest(remote, journal, { ...ADVICE, mostRaces: 7 }, async () => {
    plans++;
    await overtake();
    return { added: journal.packs };
  });
  await expect(publishing).rejects.toMatchObject({
    code: 'BUSY',
    message: 's3://memory: others have pushed 7 times meanwhile: try again later',
    data: { where: 's3://memory' },
  });
  expect(plans).toBe(7);
  expect(journal.packs).toEqual([packRow(1)]);
});
