import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { watchPoints } from '../../../files/index.ts';
import { MIDX_FILE, Pack, removeMidx, writeMidx } from '../../../pack/index.ts';
import { GitRepository } from '../../objects/git.ts';
import { mixed } from '../../objects/noise.ts';
import { sampleObject, sampleObjects, writePack } from '../pack-objects.ts';
import { openMidx } from './sample-midx.ts';

/** A repository with packs that share objects, each a second older than the one before. */
async function withPacks(count: number): Promise<{ repository: GitRepository; packs: Pack[] }> {
  const repository = GitRepository.create();
  const packs: Pack[] = [];
  for (let i = 0; i < count; i++) {
    const own = Array.from({ length: 30 }, (_, n) =>
      sampleObject('blob', Buffer.concat([Buffer.from(`${i} ${n}`), mixed(300, n)])),
    );
    const objects = i % 2 === 0 ? [...sampleObjects(), ...own] : own;
    // At other places in each pack.
    const stem = await writePack(repository.packs, i % 4 === 0 ? objects : objects.reverse());
    utimesSync(`${stem}.pack`, 1_700_000_000 - i, 1_700_000_000 - i);
    packs.push(new Pack(stem));
  }
  return { repository, packs };
}

test.each([1, 2, 7])(
  'writeMidx writes the very bytes that git multi-pack-index write writes for %d packs',
  async (count) => {
    const { repository, packs } = await withPacks(count);
    const path = join(repository.packs, MIDX_FILE);
    repository.git(['multi-pack-index', 'write']);
    const expected = readFileSync(path);
    rmSync(path);
    await writeMidx(repository.packs, packs);
    expect(readFileSync(path).equals(expected)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o444);
    repository.git(['multi-pack-index', 'verify']);
    const midx = openMidx(expected);
    midx.verify();
    for (const pack of packs)
      for (let position = 0; position < pack.idx.count; position++) {
        const place = midx.find(pack.idx.id(position))!;
        const holder = packs.find(({ stem }) => stem.endsWith(place.pack.slice(0, -4)))!;
        expect(holder.idx.offset(holder.idx.find(pack.idx.id(position))!)).toBe(place.offset);
      }
  },
);

test('git reads every object by a multi-pack-index of ours', async () => {
  const { repository, packs } = await withPacks(3);
  const ids = repository
    .git(['cat-file', '--batch-check=%(objectname)', '--batch-all-objects', '--unordered'])
    .split('\n');
  const read = () => repository.run(['cat-file', '--batch'], ids.join('\n'));
  const before = read();
  await writeMidx(repository.packs, packs);
  repository.fsck();
  expect(read().equals(before)).toBe(true);
});

test('Midx reads what git writes with bitmaps and a preferred pack', async () => {
  const { repository, packs } = await withPacks(4);
  const [first] = repository
    .git(['cat-file', '--batch-check', '--batch-all-objects'])
    .match(/^\w+(?= commit)/m)!;
  repository.git(['update-ref', 'refs/heads/web', first!]);
  repository.git([
    'multi-pack-index',
    'write',
    '--bitmap',
    `--preferred-pack=${packs[2]!.stem.split('/').at(-1)}.pack`,
  ]);
  const midx = openMidx(readFileSync(join(repository.packs, MIDX_FILE)));
  midx.verify();
  expect(midx.find(first!)?.pack).toBe(`${packs[2]!.stem.split('/').at(-1)}.idx`);
});

test('writeMidx and removeMidx replace what git laid beside the multi-pack-index', async () => {
  const { repository, packs } = await withPacks(2);
  const chain = join(repository.packs, 'multi-pack-index.d');
  const lay = () => {
    for (const ending of ['bitmap', 'rev'])
      writeFileSync(join(repository.packs, `multi-pack-index-12ab.${ending}`), '');
    mkdirSync(chain);
    writeFileSync(join(chain, 'multi-pack-index-chain'), '');
  };
  const left = () =>
    readdirSync(repository.packs).filter((name) => name.startsWith('multi') || name.startsWith('tmp'));
  lay();
  await writeMidx(repository.packs, packs);
  expect(left()).toEqual([MIDX_FILE]);
  lay();
  await removeMidx(repository.packs);
  expect(left()).toEqual([]);
});

test('writeMidx throws BUSY when git writes the multi-pack-index, and leaves the lock alone', async () => {
  const { repository, packs } = await withPacks(2);
  const lock = join(repository.packs, `${MIDX_FILE}.lock`);
  writeFileSync(lock, '');
  await expect(writeMidx(repository.packs, packs)).rejects.toMatchObject({ code: 'BUSY' });
  expect(existsSync(lock)).toBe(true);
});

test.each(['create', 'write', 'fsync', 'rename'])(
  'writeMidx leaves the old multi-pack-index and nothing else when %s fails',
  async (action) => {
    const { repository, packs } = await withPacks(3);
    await writeMidx(repository.packs, packs.slice(1));
    const path = join(repository.packs, MIDX_FILE);
    const before = readFileSync(path);
    const files = readdirSync(repository.packs).sort();
    const stop = watchPoints((point, at) => {
      if (point === `midx.${action}` && !at.endsWith('.lock'))
        throw Object.assign(new Error('x'), { code: 'ENOSPC' });
    });
    await expect(writeMidx(repository.packs, packs)).rejects.toMatchObject({ code: 'IO' }).finally(stop);
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(readdirSync(repository.packs).sort()).toEqual(files);
  },
);

test('writeMidx fsyncs the file before it gets its name, and the folder after', async () => {
  const { repository, packs } = await withPacks(2);
  const points: string[] = [];
  const stop = watchPoints((point, at) => {
    if (!at.endsWith('.lock') && points.at(-1) !== point) points.push(point);
  });
  await writeMidx(repository.packs, packs).finally(stop);
  expect(points).toEqual(['midx.create', 'midx.write', 'midx.fsync', 'midx.rename', 'midx.fsync-folder']);
});
