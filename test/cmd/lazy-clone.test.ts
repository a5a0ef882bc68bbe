import { readFile, rm } from 'node:fs/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { qemuImg, qemuIo } from '../qcow2/qemu.ts';
import { type Rgw, sharedRgw } from '../remote/rgw.ts';
import { oneLine, Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';

let rgw: Rgw;
beforeAll(async () => {
  rgw = await sharedRgw();
});

/** Nobody listens there. */
const NOWHERE = { AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1' };

const NOBODY = { AWS_ACCESS_KEY_ID: undefined };

/** Of the clusters of a disk. */
const SEEDS = [1, 2, 3, undefined, 4, 5, 6, 7];

/** A workplace whose store is a lazy clone of a bucket with two versions of `web`. */
async function lazyPlace() {
  const from = new S3Workplace((await Workplace.withStore()).folder);
  await writeDisk(from, 'web.raw', ...SEEDS);
  await from.ok('commit', 'web.raw', '-m', 'first');
  const first = await readFile(from.path('web.raw'));
  await writeDisk(from, 'web.raw', 99, ...SEEDS);
  await from.ok('commit', 'web.raw', '-m', 'second');
  const second = await readFile(from.path('web.raw'));
  const url = `s3://${await rgw.newBucket()}/fleet`;
  await from.ok('remote', 'add', 'origin', url);
  await from.ok('push');
  const place = new S3Workplace((await Workplace.create()).folder);
  await place.ok('clone', '--lazy', url, '.');
  return { from, place, url, first, second };
}

class S3Workplace extends Workplace {
  override get environment(): NodeJS.ProcessEnv {
    return { ...super.environment, ...rgw.environment };
  }
}

describe('on a lazy clone', () => {
  test('verbs that read find what was pushed', async () => {
    const { place, first, second } = await lazyPlace();
    expect((await place.run('cat', 'web~1')).bytes.equals(first)).toBe(true);
    await place.ok('checkout', 'web', '-o', 'a.raw');
    expect((await readFile(place.path('a.raw'))).equals(second)).toBe(true);
    expect(await place.ok('compare', 'web', 'a.raw')).toBe('identical\n');
    await place.ok('checkout', 'web', '-o', 'a.raw', '--in-place');
    await place.ok('checkout', 'web~1', '-o', 'a.raw', '--in-place');
    expect((await readFile(place.path('a.raw'))).equals(first)).toBe(true);
    for (const [name, ...options] of [
      ['plain.qcow2'],
      ['small.qcow2', '--compress', 'zlib'],
      ['chain.qcow2', '--backing', 'chain'],
      ['fork.qcow2', '--backing', 'fork'],
    ]) {
      await rm(place.path('.imgstore/imgstore/remotes/origin/cache'), { recursive: true, force: true });
      await place.ok('checkout', 'web', '-o', name!, ...options);
      await qemuImg('convert', '-O', 'raw', place.path(name!), place.path('out.raw'));
      expect((await readFile(place.path('out.raw'))).equals(second)).toBe(true);
    }
    for (const verb of [
      ['log'],
      ['show', 'web'],
      ['images'],
      ['stats'],
      ['map', 'web'],
      ['diff', 'web~1', 'web'],
    ])
      await place.ok(...verb);
    await place.ok('fsck');
    await place.ok('fsck', '--quick');
    await place.ok('fsck', '--repair');
    place.git('fsck', '--full', '--strict');
  });

  test('verbs that write store only what is new, and push sends only that', async () => {
    const { place, from, second } = await lazyPlace();
    await place.ok('checkout', 'web', '-o', 'base.qcow2');
    expect(await place.json('commit', 'base.qcow2', '-b', 'web')).toMatchObject({ unchanged: true });
    await qemuImg('create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', place.path('over.qcow2'));
    await qemuIo(place.path('over.qcow2'), 'write -P 7 64k 64k');
    const committed = await place.json('commit', 'over.qcow2', '-b', 'web');
    expect(committed).toMatchObject({ disks: [{ newClusters: 1 }] });
    await place.ok('import', 'over.qcow2', '-b', 'imported');
    await place.ok('rebase', 'over.qcow2', '--onto', 'web~2', '-o', 'older.qcow2');
    expect(await place.ok('compare', 'web', 'over.qcow2')).toBe('identical\n');
    await place.ok('tag', 'v1', 'web~2');
    await place.ok('branch', 'kept', 'web~2');
    await place.ok('pack');
    await place.ok('gc', '--prune=now');
    await place.ok('push');
    await from.ok('pull');
    expect(from.git('rev-parse', 'web')).toBe(place.git('rev-parse', 'web'));
    await from.ok('fsck');
    expect((await from.run('cat', 'web~1')).bytes.equals(second)).toBe(true);
    for (const seed of [50, 51]) {
      await writeDisk(place, 'own.raw', seed, ...SEEDS);
      await place.ok('commit', 'own.raw');
    }
    await place.ok('forget', 'own~1');
    await place.ok('gc', '--prune=now');
    await place.ok('fsck');
    place.git('fsck', '--full', '--strict');
  });

  test('a new version comes with pull, and its clusters when they are read', async () => {
    const { place, from } = await lazyPlace();
    await writeDisk(from, 'web.raw', 77, ...SEEDS);
    await from.ok('commit', 'web.raw', '-m', 'third');
    await from.ok('push');
    await place.ok('pull');
    await place.ok('checkout', 'web', '-o', 'web.raw');
    expect((await readFile(place.path('web.raw'))).equals(await readFile(from.path('web.raw')))).toBe(true);
    await place.ok('fsck');
    place.git('fsck', '--full', '--strict');
  });

  test('push to another bucket brings along what was never read', async () => {
    const { place, second } = await lazyPlace();
    const url = `s3://${await rgw.newBucket()}/second`;
    await place.ok('remote', 'add', 'second', url);
    await place.ok('push', 'second', 'web');
    const copy = new S3Workplace((await Workplace.create()).folder);
    await copy.ok('clone', url, '.');
    await copy.ok('fsck');
    expect((await copy.run('cat', 'web')).bytes.equals(second)).toBe(true);
  });

  test('push to a git repository that lacks what is not here says where to push from', async () => {
    const { place } = await lazyPlace();
    place.git('init', '-q', '--bare', '--object-format=sha256', place.path('other.git'));
    await place.ok('remote', 'add', 'other', place.path('other.git'));
    const outcome = await place.run('push', 'other', 'web');
    expect(outcome.status).not.toBe(0);
    expect(oneLine(outcome)).toMatch(
      /: a lazy clone has not all that git would send: push from a whole clone$/,
    );
    await place.ok('log');
  });

  test('without the server and without credentials what was read is there, and the rest is refused in a line', async () => {
    const { place, second } = await lazyPlace();
    const read = ['cat', 'web', '--length', '128K'];
    await place.ok(...read);
    for (const env of [NOWHERE, NOBODY]) {
      const outcome = await place.start(read, { env }).finished;
      expect(outcome.bytes.equals(second.subarray(0, 128 * 1024))).toBe(true);
      expect((await place.start(['log'], { env }).finished).status).toBe(0);
      expect((await place.start(['fsck'], { env }).finished).status).toBe(0);
    }
    const checkout = ['checkout', 'web', '-o', 'no.raw'];
    const away = await place.start(checkout, { env: NOWHERE }).finished;
    expect(away.status).toBe(1);
    expect(oneLine(away)).toMatch(/was not read here before, .*: try again when it does$/);
    const denied = await place.start(checkout, { env: NOBODY }).finished;
    expect(oneLine(denied)).toContain('no credentials: set AWS_ACCESS_KEY_ID');
  });

  test('its remote cannot be removed', async () => {
    const { place } = await lazyPlace();
    const outcome = await place.run('remote', 'remove', 'origin');
    expect(outcome.status).not.toBe(0);
    expect(oneLine(outcome)).toContain('has the clusters of this lazy clone');
    await place.ok('log');
  });

  test('serve gives what the bucket has, and commits what is written', async () => {
    const { place, second } = await lazyPlace();
    await place.serve('--writable');
    const uri = `nbd+unix:///web?socket=${place.path('.imgstore/imgstore/nbd.sock')}`;
    await qemuImg('convert', '-f', 'raw', '-O', 'raw', uri, place.path('out.raw'));
    expect((await readFile(place.path('out.raw'))).equals(second)).toBe(true);
    await place.ok('checkout', 'web', '-o', 'over.qcow2', '--backing', 'nbd');
    await qemuIo(place.path('over.qcow2'), 'write -P 5 0 64k');
    await place.ok('commit', 'over.qcow2', '-b', 'over');
    await place.ok('hydrate', 'over.qcow2');
    expect(await place.ok('compare', 'over', 'over.qcow2')).toBe('identical\n');
    await place.ok('fsck');
  });
});

test('a clone of a bucket to which nothing was pushed is an empty store', async () => {
  const place = new S3Workplace((await Workplace.create()).folder);
  const url = `s3://${await rgw.newBucket()}/empty`;
  await place.ok('clone', '--lazy', url, 'lazy');
  await place.ok('clone', url, 'whole');
  expect(await place.ok('-C', 'lazy', 'images')).toBe(await place.ok('-C', 'whole', 'images'));
});
