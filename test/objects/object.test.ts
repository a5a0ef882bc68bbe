import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  encodeObjectHeader,
  type ObjectType,
  objectId,
  parseObjectHeader,
  verifyObject,
} from '../../objects/index.ts';
import { damage } from './damage.ts';
import { GitRepository } from './git.ts';
import { mixed, noise } from './noise.ts';

const TYPES: readonly ObjectType[] = ['blob', 'tree', 'commit', 'tag'];

test('parseObjectHeader is the inverse of encodeObjectHeader for any type and size', () => {
  const size = fc.oneof(fc.nat(), fc.maxSafeNat());
  fc.assert(
    fc.property(fc.constantFrom(...TYPES), size, fc.uint8Array(), (type, bytes, behind) => {
      const header = encodeObjectHeader(type, bytes);
      expect(parseObjectHeader(Buffer.concat([header, behind]))).toEqual({
        type,
        size: bytes,
        length: header.length,
      });
    }),
    { examples: [['commit', Number.MAX_SAFE_INTEGER, new Uint8Array(0)]] },
  );
});

test.each([
  ['nothing', ''],
  ['no end', 'blob 12'],
  ['no size', 'blob \0'],
  ['no type', ' 12\0'],
  ['another type', 'blub 12\0'],
  ['a type in capitals', 'BLOB 12\0'],
  ['two spaces', 'blob  12\0'],
  ['a leading zero', 'blob 012\0'],
  ['a sign', 'blob -1\0'],
  ['a fraction', 'blob 1.5\0'],
  ['an exponent', 'blob 1e3\0'],
  ['hex', 'blob 0x10\0'],
  ['a size beyond 2^53', 'blob 9007199254740992\0'],
  ['a size of 17 digits', 'blob 10000000000000000\0'],
  ['an end too far away', `blob ${'1'.repeat(30)}\0`],
  ['something behind the size', 'blob 12 \0'],
  ['a line end', 'blob 12\n\0'],
  ['only a NUL', '\0blob 12\0'],
])('parseObjectHeader throws DAMAGED for %s', (_, text) => {
  expect(damage(() => parseObjectHeader(Buffer.from(text))).message).toContain('header');
});

test('parseObjectHeader throws DAMAGED or nothing for any bytes', () => {
  const bytes = fc.oneof(
    fc.uint8Array(),
    fc.string().map((text) => Buffer.from(`blob ${text}\0`)),
  );
  fc.assert(
    fc.property(bytes, (hostile) => {
      try {
        expect(parseObjectHeader(hostile).length).toBeLessThanOrEqual(hostile.length);
      } catch (error) {
        expect(error).toMatchObject({ code: 'DAMAGED' });
      }
    }),
  );
});

test('objectId is what git hash-object says', () => {
  const repository = GitRepository.create();
  for (const data of [Buffer.alloc(0), Buffer.from('hello\n'), noise(65_536, 1), mixed(2 ** 21, 2)]) {
    expect(objectId('blob', data)).toBe(repository.git(['hash-object', '--stdin'], data));
  }
  for (const type of TYPES) {
    const id = repository.git(['hash-object', '--stdin', '--literally', '-t', type], 'not valid');
    expect(objectId(type, Buffer.from('not valid'))).toBe(id);
  }
});

test('verifyObject throws DAMAGED naming object and place when a byte differs', () => {
  const data = Buffer.from('hello\n');
  const id = objectId('blob', data);
  verifyObject(id, { type: 'blob', data }, 'here');
  for (const object of [
    { type: 'tree', data } as const,
    { type: 'blob', data: data.subarray(1) } as const,
    { type: 'blob', data: Buffer.from('hellO\n') } as const,
  ]) {
    const error = damage(() => verifyObject(id, object, 'objects/2c/f8'));
    expect(error.message).toMatch(new RegExp(`^objects/2c/f8: object ${id} is damaged: `));
    expect(error.data).toMatchObject({ id, where: 'objects/2c/f8' });
  }
});
