import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { addRemote, BegunPush, pushRefs } from '../../../store/index.ts';
import type { FakeS3 } from '../../remote/fake-s3.ts';
import { diskOf } from '../disks.ts';
import { commitBytes, newStore, reopen, type TestStore } from '../new-store.ts';
import { fakeServer } from './fake-server.ts';

let fake: FakeS3;
beforeEach(async () => {
  fake = await fakeServer();
});
afterEach(() => {
  vi.restoreAllMocks();
});

async function storeWithBucket(): Promise<TestStore> {
  const made = await newStore();
  await addRemote(made.store, 'origin', 's3://bucket/p', { endpoint: fake.endpoint, region: 'us-east-1' });
  return { ...made, store: await reopen(made.path) };
}

const listings = () => fake.requests.filter(({ key }) => key === undefined).length;

test('BegunPush asks for refs before what is pushed is there, and pushRefs asks no more', async () => {
  const made = await storeWithBucket();
  const before = await commitBytes(made, 'web', diskOf([1]));
  await pushRefs(made.store, { refs: ['web'] });
  fake.forget();
  const begun = new BegunPush(made.store, undefined);
  await begun.seen({});
  expect(listings()).toBe(1);
  const after = await commitBytes(made, 'web', diskOf([1, 2]));
  const { updates } = await pushRefs(made.store, { refs: ['web'] }, {}, begun);
  expect(updates).toMatchObject([{ from: before.commit, to: after.commit, kind: 'forward' }]);
  expect(listings()).toBe(1);
});

test('BegunPush asks again when what it saw is old', async () => {
  const one = await storeWithBucket();
  const two = await storeWithBucket();
  const begun = new BegunPush(one.store, 'origin');
  expect((await begun.seen({})).there.refs).toEqual([]);
  const { commit } = await commitBytes(two, 'db', diskOf([1]));
  await pushRefs(two.store, { refs: ['db'] });
  const now = performance.now();
  vi.spyOn(performance, 'now').mockReturnValue(now + 10_001);
  expect((await begun.seen({})).there.refs).toEqual([{ name: 'refs/heads/db', id: commit }]);
  await begun.close();
});

test('pushRefs takes no version from a branch that has moved since BegunPush saw it', async () => {
  const one = await storeWithBucket();
  const two = await storeWithBucket();
  const begun = new BegunPush(one.store, 'origin');
  await begun.seen({});
  const { commit } = await commitBytes(two, 'web', diskOf([1]));
  await pushRefs(two.store, { refs: ['web'] });
  await commitBytes(one, 'web', diskOf([2]));
  const { updates } = await pushRefs(one.store, { refs: ['web'] }, {}, begun);
  expect(updates).toMatchObject([{ kind: 'rejected' }]);
  const again = new BegunPush(two.store, 'origin');
  expect((await again.seen({})).there.refs).toEqual([{ name: 'refs/heads/web', id: commit }]);
  await again.close();
});

test('BegunPush says what is wrong when it is asked for the refs, and not before', async () => {
  const { store } = await storeWithBucket();
  const begun = new BegunPush(store, 'nobody');
  await expect(begun.seen({})).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await begun.close();
  fake.faultOf = () => ({ kind: 'status', status: 403, code: 'AccessDenied' });
  const denied = new BegunPush(store, 'origin');
  await expect(denied.seen({})).rejects.toMatchObject({ code: 'REMOTE_DENIED' });
  await denied.close();
});

test('BegunPush.close waits for no server that does not answer', async () => {
  const { store } = await storeWithBucket();
  const asked = new Promise<void>((resolve) => {
    fake.faultOf = () => {
      resolve();
      return { kind: 'stall' };
    };
  });
  const begun = new BegunPush(store, 'origin');
  await asked;
  await begun.close();
  const unasked = new BegunPush(store, 'origin');
  await unasked.close();
});
