import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openS3 } from '../../../remote/index.ts';
import { cloneStore, initStore } from '../../../store/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import type { FakeS3 } from '../../remote/fake-s3.ts';
import { diskOf } from '../disks.ts';
import { gitFsck } from '../git.ts';
import { commitBytes, newStore, reopen, type TestStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';
import { pushAll } from './bucket/ways.ts';
import { breakOffPack, fakeServer } from './fake-server.ts';

let fake: FakeS3;
beforeEach(async () => {
  fake = await fakeServer();
});

/** A store of which a bucket has all, at two prefixes. */
async function pushed(): Promise<TestStore> {
  const from = await newStore();
  await commitBytes(from, 'web', diskOf(Array.from({ length: 900 }, (_, i) => i + 1)));
  for (const prefix of ['p', 'q']) {
    const bucket = await openS3(fake.options(prefix));
    await pushAll(from, bucket);
    await bucket.close();
  }
  return from;
}

const clone = (folder: string, prefix = 'p', lazy = false) =>
  cloneStore({
    url: `s3://bucket/${prefix}`,
    folder,
    branches: [],
    settings: { endpoint: fake.endpoint, region: 'us-east-1' },
    lazy,
  });

/** Bytes of packs that were asked for, by what is left from the offset of a request on. */
function packBytes(): number {
  return fake.requests
    .filter(({ method, key }) => method === 'GET' && key?.endsWith('.pack'))
    .map(({ key, headers }) => {
      const from = /^bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? '0';
      return fake.objects.get(key!)!.bytes.length - Number(from);
    })
    .reduce((sum, bytes) => sum + bytes, 0);
}

/** Breaks off the first large pack after some bytes, and refuses everything from then on. */
function breakOff(bytes: number): void {
  fake.forget();
  breakOffPack(fake, bytes);
}

function mend(): void {
  fake.forget();
  fake.faultOf = () => undefined;
}

const CUT = 2_500_000;

describe('cloneStore', () => {
  test('goes on with what had come when it is run again after it has failed', async () => {
    const from = await pushed();
    const folder = join(await temporaryFolder(), 'new', 'place');
    breakOff(CUT);
    await expect(clone(folder)).rejects.toMatchObject({
      code: 'REMOTE_DENIED',
      message: expect.stringMatching(
        /^(?!.*kept.*kept).*: what has come is kept: run the same command again to go on$/,
      ),
    });
    expect(readdirSync(folder)).toEqual([expect.stringMatching(/^\.imgstore\.tmp_/)]);
    const whole = packBytes();
    mend();
    const { store: path } = await clone(folder);
    expect(packBytes()).toBeLessThan(whole - CUT / 2);
    expect(readdirSync(folder)).toEqual(['.imgstore']);
    const store = await reopen(path);
    expect((await readBack(store, 'web')).equals(await readBack(from.store, 'web'))).toBe(true);
    await gitFsck(path);
  });

  test('goes on with what a process that was killed has left', async () => {
    await pushed();
    const folder = await temporaryFolder();
    breakOff(CUT);
    await expect(clone(folder)).rejects.toThrow('is kept');
    const [name] = readdirSync(folder);
    // As a process of another number, that ran at another time, would have called it.
    renameSync(join(folder, name!), join(folder, name!.replace(/-\d+-\d+_/, '-4194304-7_')));
    mend();
    await clone(folder);
    expect(packBytes()).toBeLessThan(4_000_000 - CUT / 2);
    expect(readdirSync(folder)).toEqual(['.imgstore']);
  });

  test('goes on as often as it fails', async () => {
    await pushed();
    const folder = await temporaryFolder();
    for (const bytes of [1_200_000, 1_000_000, 1_000_000]) {
      breakOff(bytes);
      await expect(clone(folder)).rejects.toThrow('is kept');
      expect(readdirSync(folder)).toHaveLength(1);
    }
    mend();
    await clone(folder);
    expect(packBytes()).toBeLessThan(1_500_000);
  });

  test('does not take over what another clone has left, and removes it', async () => {
    await pushed();
    const folder = await temporaryFolder();
    breakOff(CUT);
    await expect(clone(folder)).rejects.toThrow('is kept');
    mend();
    await clone(folder, 'q');
    expect(packBytes()).toBeGreaterThan(3_600_000);
    expect(readdirSync(folder)).toEqual(['.imgstore']);
  });

  test('does not trust what was kept', async () => {
    const from = await pushed();
    const folder = await temporaryFolder();
    breakOff(CUT);
    await expect(clone(folder)).rejects.toThrow('is kept');
    const [name] = readdirSync(folder);
    const incoming = join(folder, name!, '.imgstore/imgstore/remotes/origin/incoming/objects/pack');
    const part = readdirSync(incoming).find((each) => each.endsWith('.part'))!;
    const handle = await open(join(incoming, part), 'r+');
    await handle.write(Buffer.alloc(5000), 0, 5000, 900_000);
    await handle.close();
    mend();
    const { store: path } = await clone(folder);
    const store = await reopen(path);
    expect((await readBack(store, 'web')).equals(await readBack(from.store, 'web'))).toBe(true);
    await gitFsck(path);
  });

  test('leaves nothing behind when hardly anything had come', async () => {
    await pushed();
    const folder = join(await temporaryFolder(), 'new');
    breakOff(100_000);
    const error = await clone(folder).catch((thrown: unknown) => thrown);
    expect((error as Error).message).not.toContain('is kept');
    expect(() => readdirSync(folder)).toThrow('ENOENT');
  });

  test('makes an empty store of an empty bucket', async () => {
    const folder = await temporaryFolder();
    const { branches, store: path } = await clone(folder, 'nothing');
    expect(branches).toEqual([]);
    await gitFsck(path);
  });

  test('is refused where a store is, and leaves what another clone keeps there', async () => {
    await pushed();
    const folder = await temporaryFolder();
    (await initStore(folder)).close();
    mkdirSync(join(folder, '.imgstore.tmp_00000000-1-1_0123456789ab'));
    await expect(clone(folder)).rejects.toMatchObject({ code: 'EXISTS' });
    expect(readdirSync(folder)).toHaveLength(2);
  });
});
