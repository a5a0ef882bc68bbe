import { expect, test } from 'vitest';
import { sharedWorkplace } from './imgstore.ts';
import { CLUSTER, fillSampleStore } from './sample.ts';

const place = sharedWorkplace(fillSampleStore);

test('map tells where data is, in order and without gaps', async () => {
  expect(await place().json('map', 'web~1')).toEqual([
    { offset: 0, length: CLUSTER, kind: 'data' },
    { offset: CLUSTER, length: CLUSTER, kind: 'zero' },
    { offset: 2 * CLUSTER, length: CLUSTER, kind: 'data' },
  ]);
  expect(await place().ok('map', 'db', '--disk', 'vdb')).toBe('0 65536 data\n');
});
