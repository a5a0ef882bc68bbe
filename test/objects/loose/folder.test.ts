import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  encodeObjectHeader,
  LooseObjects,
  looseFromDeflated,
  nodeDeflate,
  objectId,
} from '../../../objects/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { damage, failure } from '../damage.ts';
import { GitRepository } from '../git.ts';
import { mixed, noise } from '../noise.ts';
import { loosePath, putLoose, putLooseFile } from './put-loose.ts';

const DATA = mixed(4000, 1);
const ID = objectId('blob', DATA);
const FILE = looseFromDeflated('blob', DATA.length, nodeDeflate.deflate(DATA, 6));

/** A folder with one loose object whose file holds these bytes instead. */
async function withFile(file: Uint8Array): Promise<{ loose: LooseObjects; path: string }> {
  const folder = await temporaryFolder();
  putLooseFile(folder, ID, file);
  return { loose: new LooseObjects(folder), path: loosePath(folder, ID) };
}

test('LooseObjects reads what git wrote', () => {
  const repository = GitRepository.create();
  const loose = new LooseObjects(repository.objects);
  const blob = repository.store('blob', DATA);
  const tree = repository.git(['mktree'], `100644 blob ${blob}\ta\n`);
  const commit = repository.git(['commit-tree', tree, '-m', 'x']);
  repository.git(['tag', '-a', 'v1', '-m', 'x', commit]);
  const tag = repository.git(['rev-parse', 'refs/tags/v1']);
  for (const [type, id] of Object.entries({ blob, tree, commit, tag })) {
    const size = Number(repository.git(['cat-file', '-s', id]));
    expect(loose.has(id)).toBe(true);
    expect(loose.header(id)).toMatchObject({ type, size });
    expect(loose.read(id)?.type).toBe(type);
    expect(loose.read(id)?.data).toHaveLength(size);
    expect(loose.fileSize(id)).toBeGreaterThan(0);
  }
  expect([...loose.ids()]).toEqual([blob, tree, commit, tag].sort());
});

test('LooseObjects gives undefined when there is no such object', async () => {
  const loose = new LooseObjects(join(await temporaryFolder(), 'missing'));
  expect(loose.has(ID)).toBe(false);
  expect(loose.read(ID)).toBeUndefined();
  expect(loose.header(ID)).toBeUndefined();
  expect(loose.fileSize(ID)).toBeUndefined();
  expect(loose.hasWhole(ID)).toBe(false);
  expect([...loose.ids()]).toEqual([]);
  expect([...loose.idsWithPrefix('ab')]).toEqual([]);
});

test('LooseObjects.ids leaves out what is no object', async () => {
  const { loose } = await withFile(FILE);
  const folder = join(loose.folder, ID.slice(0, 2));
  for (const name of ['tmp_obj_abcdef', ID, ID.slice(3), ID.slice(2).toUpperCase(), `${ID.slice(2)}.lock`])
    writeFileSync(join(folder, name), '');
  for (const name of ['info', 'pack', 'AB', 'a', 'abc']) mkdirSync(join(loose.folder, name));
  expect([...loose.ids()]).toEqual([ID]);
});

test('LooseObjects.idsWithPrefix gives the ids that begin so', async () => {
  const folder = await temporaryFolder();
  const ids = Array.from({ length: 200 }, (_, i) => putLoose(folder, 'blob', Buffer.from(`${i}`))).sort();
  const loose = new LooseObjects(folder);
  expect([...loose.ids()]).toEqual(ids);
  for (const id of ids.slice(0, 20)) {
    for (const digits of [2, 3, 5, 64]) {
      const prefix = id.slice(0, digits);
      expect([...loose.idsWithPrefix(prefix)]).toEqual(ids.filter((each) => each.startsWith(prefix)));
    }
  }
});

/** The regions of a loose file, as (name, first byte, byte behind the last). */
const HEADER_BYTES = encodeObjectHeader('blob', DATA.length).length;
const REGIONS: readonly (readonly [string, number, number])[] = [
  ['zlib header', 0, 2],
  ['length of the stored block', 3, 7],
  ['type', 7, 11],
  ['size', 12, 7 + HEADER_BYTES - 1],
  ['end of the header', 7 + HEADER_BYTES - 1, 7 + HEADER_BYTES],
  ['deflated data', 7 + HEADER_BYTES, FILE.length - 4],
  ['checksum', FILE.length - 4, FILE.length],
];

test.each(REGIONS)(
  'LooseObjects.read throws DAMAGED naming the file when the %s is changed',
  async (_, from, to) => {
    const folder = await temporaryFolder();
    const loose = new LooseObjects(folder);
    fc.assert(
      fc.property(fc.integer({ min: from, max: to - 1 }), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const file = Buffer.from(FILE);
        file[at]! ^= flip;
        putLooseFile(folder, ID, file);
        let object: ReturnType<LooseObjects['read']>;
        try {
          object = loose.read(ID);
        } catch (error) {
          expect(error).toMatchObject({ code: 'DAMAGED' });
          expect((error as Error).message.startsWith(`${loose.path(ID)}: `)).toBe(true);
          return;
        }
        // Bits that say nothing (the level in the zlib header, padding) may change: never the data.
        expect(object?.type).toBe('blob');
        expect(Buffer.compare(object!.data, DATA)).toBe(0);
      }),
    );
  },
);

test.each(['zlib header', 'type', 'size', 'checksum'])(
  'LooseObjects.read refuses every change of one bit in the %s',
  async (region) => {
    const [, from, to] = REGIONS.find(([name]) => name === region)!;
    const folder = await temporaryFolder();
    const loose = new LooseObjects(folder);
    for (let at = from; at < to; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const file = Buffer.from(FILE);
        file[at]! ^= 1 << bit;
        putLooseFile(folder, ID, file);
        damage(() => loose.read(ID));
      }
    }
  },
);

test('LooseObjects throws DAMAGED naming the file when it is cut short', async () => {
  const { loose, path } = await withFile(FILE);
  for (let length = FILE.length - 1; length >= 0; length--) {
    truncateSync(path, length);
    expect(damage(() => loose.read(ID)).message).toContain(path);
    if (length < 7 + HEADER_BYTES) expect(damage(() => loose.header(ID)).message).toContain(path);
  }
});

test('LooseObjects.read throws DAMAGED when the file holds another object', async () => {
  const { loose, path } = await withFile(
    looseFromDeflated('blob', 3, nodeDeflate.deflate(Buffer.from('abc'), 1)),
  );
  expect(damage(() => loose.read(ID)).data).toMatchObject({ id: ID, where: path });
});

test.each([
  ['less than it holds', 100],
  ['more than it holds', DATA.length + 1],
  ['a gigabyte', 2 ** 30],
  ['2^53 − 1', Number.MAX_SAFE_INTEGER],
])('LooseObjects.read throws DAMAGED when the header says %s', async (_, size) => {
  const { loose, path } = await withFile(
    deflateSync(Buffer.concat([encodeObjectHeader('blob', size), DATA])),
  );
  expect(damage(() => loose.read(ID)).message).toContain(path);
});

test.each([
  ['nothing', Buffer.alloc(0)],
  ['noise', noise(200, 1)],
  ['zeros', Buffer.alloc(200)],
  ['a stream of nothing', deflateSync('')],
  ['a stream without header', deflateSync(DATA)],
  ['a header that does not end', deflateSync('blob 12')],
])('LooseObjects throws DAMAGED naming the file when it holds %s', async (_, file) => {
  const { loose, path } = await withFile(file);
  expect(damage(() => loose.read(ID)).message).toContain(path);
  expect(damage(() => loose.header(ID)).message).toContain(path);
});

test('LooseObjects.read throws IO naming the path when a folder is in the place of the file', async () => {
  const loose = new LooseObjects(await temporaryFolder());
  mkdirSync(loose.path(ID), { recursive: true });
  expect(failure(() => loose.read(ID))).toMatchObject({ code: 'IO', data: { path: loose.path(ID) } });
  expect(failure(() => loose.header(ID))).toMatchObject({ code: 'IO', data: { path: loose.path(ID) } });
});

test('LooseObjects.read throws UNSUPPORTED before it reads a file that is too large', async () => {
  const { loose, path } = await withFile(FILE);
  truncateSync(path, 2 ** 31);
  expect(failure(() => loose.read(ID))).toMatchObject({ code: 'UNSUPPORTED', data: { path } });
});

test.each(['mkfifo', 'mkdir'])(
  'LooseObjects throws IO and does not wait when %s made what is in the place of a file',
  async (program) => {
    const { loose, path } = await withFile(FILE);
    rmSync(path);
    execFileSync(program, [path]);
    expect(loose.has(ID)).toBe(false);
    expect(loose.fileSize(ID)).toBeUndefined();
    for (const look of [() => loose.read(ID), () => loose.header(ID)])
      expect(failure(look)).toMatchObject({ code: 'IO', message: `${path}: is no regular file` });
  },
);
