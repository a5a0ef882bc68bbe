import fc from 'fast-check';
import { expect, test } from 'vitest';
import { keyOf, parseS3Url, percentEncode } from '../../../../remote/bucket/s3/names.ts';

test.each([
  ['s3://bucket', 'bucket', '', 's3://bucket'],
  ['s3://bucket/', 'bucket', '', 's3://bucket'],
  ['s3://bucket/a', 'bucket', 'a/', 's3://bucket/a'],
  ['s3://my.bucket-1/a b/ü/', 'my.bucket-1', 'a b/ü/', 's3://my.bucket-1/a b/ü'],
  ['s3://Old_Bucket/a', 'Old_Bucket', 'a/', 's3://Old_Bucket/a'],
])('parseS3Url takes %s apart', (url, bucket, prefix, where) => {
  expect(parseS3Url(url)).toEqual({ bucket, prefix, where });
});

test.each([
  ['http://bucket/a', 'USAGE'],
  ['s3:/bucket', 'USAGE'],
  ['bucket/a', 'USAGE'],
  ['s3://', 'BAD_NAME'],
  ['s3:///a', 'BAD_NAME'],
  ['s3://ab', 'BAD_NAME'],
  ['s3://a..b', 'BAD_NAME'],
  ['s3://.abc', 'BAD_NAME'],
  ['s3://bucket:9000/a', 'BAD_NAME'],
  [`s3://${'a'.repeat(256)}`, 'BAD_NAME'],
  ['s3://bucket//a', 'BAD_NAME'],
  ['s3://bucket/a//b', 'BAD_NAME'],
  ['s3://bucket/a/../b', 'BAD_NAME'],
  ['s3://bucket/.', 'BAD_NAME'],
  ['s3://bucket/a?b', 'BAD_NAME'],
  ['s3://bucket/a#b', 'BAD_NAME'],
  ['s3://bucket/a\nb', 'BAD_NAME'],
  [`s3://bucket/${'ü'.repeat(600)}`, 'BAD_NAME'],
])('parseS3Url refuses %j', (url, code) => {
  expect(() => parseS3Url(url)).toThrow(expect.objectContaining({ code }));
});

test('parseS3Url does not repeat what may be a password', () => {
  for (const url of ['s3://key:secret@bucket/a', 's3://bucket@x/a', 'S3://key:secret@bucket'])
    expect(() => parseS3Url(url)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('secret') }),
    );
});

test('keyOf puts the prefix before the name', () => {
  expect(keyOf(parseS3Url('s3://bucket/a/b'), 'c/d')).toBe('a/b/c/d');
  expect(keyOf(parseS3Url('s3://bucket'), 'c')).toBe('c');
});

test('percentEncode leaves unreserved characters only, and is undone by decodeURIComponent', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      expect(percentEncode(text)).toMatch(/^([A-Za-z0-9._~-]|%[0-9A-F]{2})*$/);
      expect(decodeURIComponent(percentEncode(text))).toBe(text);
    }),
  );
});
