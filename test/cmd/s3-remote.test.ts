import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { openS3 } from '../../remote/index.ts';
import { noise } from '../objects/noise.ts';
import { keyFile, newKeyPair } from '../remote/age/age-tool.ts';
import { FakeS3, type FakeS3Settings } from '../remote/fake-s3.ts';
import { type Rgw, sharedRgw } from '../remote/rgw.ts';
import { oneLine, Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';

let rgw: Rgw;
beforeAll(async () => {
  rgw = await sharedRgw();
});

/** A folder in which imgstore runs with the keys of a server. */
class S3Place extends Workplace {
  constructor(folder: string, variables: NodeJS.ProcessEnv = rgw.environment) {
    super(folder, variables);
  }

  static async withKeys(variables?: NodeJS.ProcessEnv): Promise<S3Place> {
    return new S3Place((await Workplace.withStore()).folder, variables);
  }

  async commit(branch: string, ...seeds: readonly number[]): Promise<void> {
    await writeDisk(this, `${branch}.raw`, ...seeds);
    await this.ok('commit', `${branch}.raw`, '-m', `${branch} ${seeds.join()}`);
  }
}

/** Fails unless the store that was cloned into a folder is in order and has an image as the file is. */
async function expectClone(place: S3Place, folder: string, image: string, raw: string): Promise<void> {
  const copy = new Workplace(place.path(folder));
  copy.fsck();
  await copy.ok('checkout', image, '-o', `${image}-out.raw`);
  expect((await readFile(copy.path(`${image}-out.raw`))).equals(await readFile(raw))).toBe(true);
}

describe('an s3:// remote on Ceph', () => {
  test('fsck --repair --from REMOTE brings back what the store has lost, and verify --repair what the bucket has', async () => {
    const here = await S3Place.withKeys();
    const bucket = await rgw.newBucket();
    await here.commit('web', 1, 2, 3);
    await here.ok('remote', 'add', 'origin', `s3://${bucket}/vms`, '--no-probe');
    await here.ok('push');
    const loose = here.git('cat-file', '--batch-all-objects', '--batch-check=%(objectname)').split('\n');
    for (const id of loose.slice(0, 3))
      await rm(here.path(`.imgstore/objects/${id.slice(0, 2)}/${id.slice(2)}`));
    expect((await here.run('fsck')).status).toBe(3);
    await here.ok('fsck', '--repair', '--from', 'origin');
    here.fsck();

    const open = await openS3(rgw.options(`${bucket}/vms`));
    onTestFinished(() => open.close());
    const names: string[] = [];
    for await (const { name } of open.list('packs/')) names.push(name);
    await open.remove(names);
    expect((await here.run('verify')).status).toBe(3);
    await here.ok('verify', '--repair');
    await here.ok('clone', `s3://${bucket}/vms`, 'there');
    await expectClone(here, 'there', 'web', here.path('web.raw'));
  });

  test('goes from one machine to another and back', async () => {
    const bucket = await rgw.newBucket();
    const url = `s3://${bucket}/fleet`;
    const here = await S3Place.withKeys();
    await here.commit('web', 1, 2, 3);
    await here.ok('remote', 'add', 'origin', url);
    expect(await here.ok('ls-remote')).toBe('');
    await here.ok('push');
    await here.ok('tag', 'v1', 'web', '-m', 'the first');
    await here.ok('push', 'origin', 'v1');

    await here.ok('clone', url, 'there');
    await expectClone(here, 'there', 'web', here.path('web.raw'));
    const there = new S3Place(here.path('there'));
    expect(await there.ok('ls-remote')).toMatch(/web +\(HEAD\)/);
    expect(there.git('rev-parse', 'refs/tags/v1')).toBe(here.git('rev-parse', 'refs/tags/v1'));

    await there.commit('web', 1, 9, 3);
    await there.commit('db', 7);
    await there.ok('push');
    await here.ok('fetch');
    expect(here.git('rev-parse', 'refs/remotes/origin/db')).toBe(there.git('rev-parse', 'db'));
    await here.ok('pull');
    expect(here.git('rev-parse', 'web')).toBe(there.git('rev-parse', 'web'));
    here.fsck();

    // Other versions on both sides: who comes second is told, and may insist while the lease holds.
    await here.commit('web', 4, 9, 3);
    await there.commit('web', 5, 9, 3);
    await here.ok('push');
    const refused = await there.run('push');
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('imgstore fetch');
    const stale = await there.run('push', '--force-with-lease');
    expect(stale.status).toBe(1);
    expect(stale.stderr).toContain('fetch first');
    await there.ok('fetch');
    await there.ok('push', '--force-with-lease');
    await there.ok('push', 'origin', '--delete', 'db');
    const listed = await there.ok('ls-remote');
    expect(listed).toContain(there.git('rev-parse', 'web').slice(0, 7));
    expect(listed).not.toMatch(/ db$/m);
  });

  test('takes one of two pushes at once to a branch, and tells the other', async () => {
    const url = `s3://${await rgw.newBucket()}`;
    const one = await S3Place.withKeys();
    await one.commit('web', 1);
    await one.ok('remote', 'add', 'origin', url);
    await one.ok('push');
    await one.ok('clone', url, 'two');
    const two = new S3Place(one.path('two'));
    for (let round = 0; round < 3; round++) {
      await one.commit('web', 10 + round);
      await two.commit('web', 20 + round);
      const outcomes = await Promise.all([one.run('push'), two.run('push')]);
      expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set([0, 1]));
      const [winner, loser] = outcomes[0]!.status === 0 ? [one, two] : [two, one];
      expect(outcomes.find(({ status }) => status === 1)!.stderr).toMatch(/imgstore fetch|fetch first/);
      expect(await loser.ok('ls-remote')).toContain(winner.git('rev-parse', 'web').slice(0, 7));
      await loser.ok('fetch');
      await loser.ok('branch', '-f', 'web', 'refs/remotes/origin/web');
    }
  });

  test('push and clone go on after kill -9 at any time', async () => {
    const url = `s3://${await rgw.newBucket()}/p`;
    const here = await S3Place.withKeys();
    await here.ok('remote', 'add', 'origin', url);
    const raw = here.path('big.raw');
    for (const [round, wait] of [250, 400, 550, 700, 900].entries()) {
      await writeFile(raw, Buffer.concat([noise(12 * 2 ** 20, round + 1), noise(2 ** 20, 99)]));
      await here.ok('commit', 'big.raw', '-m', `${round}`);
      if (round === 2) await here.ok('pack');
      const { child, finished } = here.start(['push']);
      await sleep(wait);
      child.kill('SIGKILL');
      await finished;
      if (round % 2 === 0) await here.ok('push');
    }
    await here.ok('push');
    for (const wait of [300, 500, 700, 900, 1200]) {
      const { child, finished } = here.start(['clone', url, 'copy']);
      await sleep(wait);
      child.kill('SIGKILL');
      if ((await finished).status === 0) break;
    }
    const last = await here.run('clone', url, 'copy');
    if (last.status !== 0) expect(oneLine(last)).toContain('a store is here already');
    await expectClone(here, 'copy', 'big', raw);
  });

  test('with age: shows nothing to who has no key, and a wrong key is told', async () => {
    const bucket = await rgw.newBucket();
    const url = `s3://${bucket}/sealed`;
    const [own, other] = [newKeyPair(), newKeyPair()];
    const identity = await keyFile('key.txt', own.secret);
    const recipients = await keyFile('recipients.txt', own.recipient);
    const keys = ['--identity', identity, '--recipients', recipients];
    const here = await S3Place.withKeys();
    await writeFile(
      here.path('secret-image.raw'),
      Buffer.concat([noise(65536, 1), Buffer.alloc(65536, 'plain text ')]),
    );
    await here.ok('commit', 'secret-image.raw', '-m', 'a secret message');
    await here.ok('remote', 'add', 'origin', url, ...keys);
    await here.ok('push');
    await here.ok('clone', url, 'there', ...keys);
    await expectClone(here, 'there', 'secret-image', here.path('secret-image.raw'));

    const ids = here.git('cat-file', '--batch-all-objects', '--batch-check=%(objectname)').split('\n');
    const open = await openS3(rgw.options(`${bucket}/sealed`));
    onTestFinished(() => open.close());
    let packs = 0;
    for await (const { name } of open.list('')) {
      const bytes = Buffer.from(await open.get(name)).toString('latin1');
      for (const secret of ['secret', 'refs/heads', 'plain text', 'PACK', 'imgstore"', ...ids]) {
        expect(bytes).not.toContain(secret);
        expect(name).not.toContain(secret);
      }
      expect(bytes.slice(0, 21)).toBe('age-encryption.org/v1');
      if (name.startsWith('packs/')) packs++;
    }
    expect(packs).toBeGreaterThan(0);

    const wrong = ['--identity', await keyFile('other.txt', other.secret)];
    const refused = await here.run('clone', url, 'wrong', ...wrong, '--json');
    expect(refused.status).toBe(1);
    expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'WRONG_KEY' } });
    const bare = await here.run('clone', url, 'bare', '--json');
    expect(JSON.parse(bare.stdout)).toMatchObject({ error: { code: 'WRONG_KEY' } });
    oneLine(bare);
  });

  test('says in one line what is wrong with a bucket or with keys', async () => {
    const here = await S3Place.withKeys();
    const absent = await here.run('clone', 's3://no-such-bucket-here/p', 'x');
    expect(absent.status).toBe(1);
    expect(oneLine(absent)).toContain('s3://no-such-bucket-here');
    const bucket = await rgw.newBucket();
    const stranger = await S3Place.withKeys({ ...rgw.environment, AWS_SECRET_ACCESS_KEY: 'wrong' });
    const denied = await stranger.run('clone', `s3://${bucket}/p`, 'x', '--json');
    expect(JSON.parse(denied.stdout)).toMatchObject({ error: { code: 'REMOTE_DENIED' } });
    oneLine(denied);
  });
});

describe('remote add s3://', () => {
  const servers: readonly [string, FakeS3Settings][] = [
    ['ignores If-None-Match', { conditional: 'ignored' }],
    ['501', { conditional: 'refused' }],
    ['of 16 writers', { conditional: 'racy' }],
  ];
  test.each(servers)(
    'refuses a server of which the probe finds "%s", and says what would be lost',
    async (found, settings) => {
      const fake = await FakeS3.start(settings);
      onTestFinished(() => fake.close());
      const { accessKeyId, secretAccessKey } = fake.keys;
      const here = await S3Place.withKeys({
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
      });
      const add = [
        'remote',
        'add',
        'origin',
        's3://bucket/p',
        '--endpoint',
        fake.endpoint,
        '--region',
        'us-east-1',
      ];
      const refused = await here.run(...add);
      expect(refused.status).toBe(1);
      const line = oneLine(refused);
      expect(line).toContain(found);
      expect(line).toContain('one would undo what the other has done');
      expect(line).toContain('--no-probe');
      expect(await here.ok('remote')).toBe('');
      expect(fake.objects.size).toBe(0);
      await here.ok(...add, '--no-probe');
      expect(await here.ok('remote')).toContain('s3://bucket/p');
    },
  );
});

test('two stores that push at once to an empty bucket both begin it', async () => {
  const url = `s3://${await rgw.newBucket()}/new`;
  const [one, two] = [await S3Place.withKeys(), await S3Place.withKeys()];
  await one.commit('web', 1);
  await two.commit('db', 2);
  for (const each of [one, two]) await each.ok('remote', 'add', 'origin', url);
  await Promise.all([one.ok('push'), two.ok('push')]);
  await one.ok('clone', url, 'both');
  await expectClone(one, 'both', 'web', one.path('web.raw'));
  await expectClone(one, 'both', 'db', two.path('db.raw'));
});
