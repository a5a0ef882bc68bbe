import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  encodeObjectHeader,
  looseFromDeflated,
  nodeDeflate,
  type ObjectType,
  objectId,
  PREFIX_STREAM_BYTES,
  pakoDeflate,
  parseLoose,
  parseLooseHeader,
} from '../../../objects/index.ts';
import { GitRepository } from '../git.ts';
import { mixed, noise } from '../noise.ts';
import { putLoose } from './put-loose.ts';

const anyType = fc.constantFrom<ObjectType>('blob', 'tree', 'commit', 'tag');
const anyData = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc.tuple(fc.nat(200_000), fc.nat(9)).map(([length, seed]) => mixed(length, seed)),
  // Sums of 0xff are what Adler-32 wraps around at soonest.
  fc.nat(200_000).map((length) => Buffer.alloc(length, 0xff)),
);

test('looseFromDeflated makes a zlib stream of header and data, with the right checksum', () => {
  fc.assert(
    fc.property(anyType, anyData, fc.integer({ min: 0, max: 9 }), (type, data, level) => {
      const header = encodeObjectHeader(type, data.length);
      for (const codec of [nodeDeflate, pakoDeflate]) {
        const file = looseFromDeflated(type, data.length, codec.deflate(data, level));
        // inflateSync throws when the Adler-32 at the end is not that of the bytes.
        expect(Buffer.concat([header, data]).equals(inflateSync(file))).toBe(true);
      }
    }),
  );
});

test('looseFromDeflated makes what parseLoose and parseLooseHeader read', () => {
  fc.assert(
    fc.property(anyType, anyData, (type, data) => {
      const file = looseFromDeflated(type, data.length, nodeDeflate.deflate(data, 1));
      expect(parseLooseHeader(file.subarray(0, PREFIX_STREAM_BYTES))).toMatchObject({
        type,
        size: data.length,
      });
      const object = parseLoose(file);
      expect(object.type).toBe(type);
      expect(Buffer.compare(object.data, data)).toBe(0);
    }),
  );
});

test('looseFromDeflated takes a view into a larger buffer', () => {
  const stream = nodeDeflate.deflate(Buffer.from('abc'), 1);
  const around = Buffer.concat([noise(5, 1), stream, noise(5, 2)]);
  const file = looseFromDeflated('blob', 3, around.subarray(5, 5 + stream.length));
  expect(file).toEqual(looseFromDeflated('blob', 3, stream));
});

test('looseFromDeflated makes files that git reads for every type and size', () => {
  const repository = GitRepository.create();
  const tree = Buffer.alloc(0);
  const person = 'A <a@b> 1 +0000';
  const commit = Buffer.from(
    `tree ${objectId('tree', tree)}\nauthor ${person}\ncommitter ${person}\n\nmessage\n`,
  );
  const tag = Buffer.from(
    `object ${objectId('commit', commit)}\ntype commit\ntag v1\ntagger ${person}\n\nmessage\n`,
  );
  const objects: [ObjectType, Buffer][] = [
    ['tree', tree],
    ['commit', commit],
    ['tag', tag],
    ['blob', Buffer.alloc(0)],
    ['blob', Buffer.of(1)],
    ['blob', noise(65_536, 1)],
    ['blob', mixed(65_536, 2)],
    ['blob', Buffer.alloc(65_536)],
    ['blob', noise(2 ** 21, 3)],
    ['blob', mixed(2 ** 21, 4)],
  ];
  for (const [index, [type, data]] of objects.entries()) {
    const id = putLoose(repository.objects, type, data, [0, 1, 6, 9][index % 4]!);
    expect(repository.git(['cat-file', '-t', id])).toBe(type);
    expect(repository.git(['cat-file', '-s', id])).toBe(String(data.length));
    expect(Buffer.compare(repository.data(type, id), data)).toBe(0);
  }
  repository.fsck();
});

test('parseLoose reads what git wrote at any compression', () => {
  const repository = GitRepository.create();
  for (const level of [0, 1, 9]) {
    for (const data of [Buffer.alloc(0), mixed(100_000, level), noise(2 ** 20, level)]) {
      const id = repository.git(
        ['-c', `core.looseCompression=${level}`, 'hash-object', '-w', '--stdin'],
        Buffer.concat([data, Buffer.of(level)]),
      );
      const file = readFileSync(`${repository.objects}/${id.slice(0, 2)}/${id.slice(2)}`);
      const object = parseLoose(file);
      expect(objectId(object.type, object.data)).toBe(id);
      expect(parseLooseHeader(file)).toMatchObject({ type: 'blob', size: data.length + 1 });
    }
  }
});
