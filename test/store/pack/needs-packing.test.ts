import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { needsPacking } from '../../../store/index.ts';
import { sampleObject, writePack } from '../../pack/pack-objects.ts';
import { newStore } from '../new-store.ts';

test('needsPacking counts no packs that packing leaves alone', async () => {
  const { store } = await newStore();
  const stems: string[] = [];
  for (let i = 0; i < 17; i++)
    stems.push(await writePack(store.objects.packs.folder, [sampleObject('blob', Buffer.from(`${i}`))]));
  expect(needsPacking(store)).toBe(true);
  for (const stem of stems) writeFileSync(`${stem}.keep`, '');
  expect(needsPacking(store)).toBe(false);
});
