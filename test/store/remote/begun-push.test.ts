import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { addRemote, BegunPush, pushRefs } from '../../../store/index.ts';
import { GitTransport } from '../../../store/remote/git-transport.ts';
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

test('BegunPush asks again a remote that could not be asked a while ago', async () => {
  const made = await storeWithBucket();
  const { commit } = await commitBytes(made, 'web', diskOf([1]));
  await pushRefs(made.store, { refs: ['web'] });
  fake.faultOf = () => ({ kind: 'status', status: 403, code: 'AccessDenied' });
  const begun = new BegunPush(made.store, 'origin');
  await expect(begun.seen({})).rejects.toMatchObject({ code: 'REMOTE_DENIED' });
  fake.faultOf = () => undefined;
  const now = performance.now();
  vi.spyOn(performance, 'now').mockReturnValue(now + 10_001);
  expect((await begun.seen({})).there.refs).toEqual([{ name: 'refs/heads/web', id: commit }]);
  await begun.close();
});

test('BegunPush opens a remote that could not be opened a while ago', async () => {
  const { store } = await storeWithBucket();
  vi.stubEnv('AWS_CONFIG_FILE', '/dev/null/none');
  vi.stubEnv('AWS_ACCESS_KEY_ID', '');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', '');
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/dev/null/none');
  const begun = new BegunPush(store, 'origin');
  await expect(begun.seen({})).rejects.toBeInstanceOf(Error);
  vi.stubEnv('AWS_ACCESS_KEY_ID', fake.keys.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', fake.keys.secretAccessKey);
  const now = performance.now();
  vi.spyOn(performance, 'now').mockReturnValue(now + 10_001);
  expect((await begun.seen({})).there.refs).toEqual([]);
  await begun.close();
});

test('BegunPush.close waits for no git that does not come to an end', async () => {
  const made = await newStore();
  await addRemote(made.store, 'origin', 'ssh://host.invalid/store');
  const asked = made.file('asked');
  vi.stubEnv('GIT_SSH_COMMAND', `sh -c 'touch "${asked}"; sleep 1000'`);
  vi.stubEnv('GIT_SSH_VARIANT', 'ssh');
  const begun = new BegunPush(await reopen(made.path), 'origin');
  while (!existsSync(asked)) await sleep(10);
  await begun.close();
});

test('BegunPush begins no git that may ask at the terminal for a password, until it is waited for', async () => {
  const made = await newStore();
  await addRemote(made.store, 'far', 'ssh://host.invalid/store');
  await addRemote(made.store, 'near', made.file('bare'));
  const refs = vi.spyOn(GitTransport.prototype, 'refs').mockResolvedValue({ refs: [] });
  const store = await reopen(made.path);
  const callsOf = async (name: string, isTerminal: boolean) => {
    const ends = [process.stdin, process.stderr].map((stream) => asTerminal(stream, isTerminal));
    const before = refs.mock.calls.length;
    const unasked = new BegunPush(store, name);
    await unasked.close();
    const atOnce = refs.mock.calls.length - before;
    const begun = new BegunPush(store, name);
    expect((await begun.seen({})).there.refs).toEqual([]);
    await begun.close();
    for (const end of ends) end();
    return [atOnce, refs.mock.calls.length - before - atOnce];
  };
  expect(await callsOf('far', true)).toEqual([0, 1]);
  expect(await callsOf('far', false)).toEqual([1, 1]);
  expect(await callsOf('near', true)).toEqual([1, 1]);
});

/** Makes a stream seem to be a terminal, or none. Returns what makes it again what it is. */
function asTerminal(stream: object, isTTY: boolean): () => void {
  const own = Object.getOwnPropertyDescriptor(stream, 'isTTY');
  Object.defineProperty(stream, 'isTTY', { value: isTTY, configurable: true, writable: true });
  return () => {
    if (own === undefined) Reflect.deleteProperty(stream, 'isTTY');
    else Object.defineProperty(stream, 'isTTY', own);
  };
}
