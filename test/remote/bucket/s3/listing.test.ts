import { expect, test } from 'vitest';
import { collected } from '../../bucket-conformance.ts';
import { fakeBucket } from './fake-bucket.ts';

const entry = (key: string, size = '1', modified = '2026-01-02T03:04:05.000Z') =>
  `<Contents><Key>${key}</Key><LastModified>${modified}</LastModified><Size>${size}</Size></Contents>`;
const listing = (content: string, more = '<IsTruncated>false</IsTruncated>') =>
  `<ListBucketResult>${more}${content}</ListBucketResult>`;

test.each([
  ['garbage', 'hello'],
  ['nothing', ''],
  ['an element that never ends', '<ListBucketResult><Contents>'],
  ['another document', '<Other/>'],
  ['a document type', `<!DOCTYPE x [<!ENTITY k "p/a">]>${listing(entry('&k;'))}`],
  ['elements in elements', `${'<a>'.repeat(100)}${'</a>'.repeat(100)}`],
  ['no word on whether it goes on', listing(entry('p/a'), '')],
  ['no word on where it goes on', listing(entry('p/a'), '<IsTruncated>true</IsTruncated>')],
  ['an entry without a name', listing('<Contents><Size>1</Size></Contents>')],
  ['a size that is none', listing(entry('p/a', '1e3'))],
  ['a negative size', listing(entry('p/a', '-1'))],
  ['a size beyond 2^53', listing(entry('p/a', '9007199254740993'))],
  ['a time that is none', listing(entry('p/a', '1', 'yesterday'))],
  [
    'a name that is wrongly encoded',
    listing(entry('p/%zz'), '<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>'),
  ],
  ['names out of order', listing(entry('p/b') + entry('p/a'))],
  ['a name twice', listing(entry('p/a') + entry('p/a'))],
  ['a name that was not asked for', listing(entry('q/a'))],
])('S3Bucket.list refuses %s', async (_, body) => {
  const { fake, bucket } = await fakeBucket();
  fake.faultOf = () => ({ kind: 'body', body });
  await expect(collected(bucket.list(''))).rejects.toMatchObject({ code: 'REMOTE_FAILED' });
});

test('S3Bucket.list refuses a server that begins anew with each page, or says the same token again', async () => {
  const { fake, bucket } = await fakeBucket();
  const truncated = (token: number) =>
    `<IsTruncated>true</IsTruncated><NextContinuationToken>${token}</NextContinuationToken>`;
  fake.faultOf = ({ number }) => ({ kind: 'body', body: listing(entry('p/a'), truncated(number)) });
  await expect(collected(bucket.list(''))).rejects.toThrow('not in the order of the names');
  fake.faultOf = () => ({ kind: 'body', body: listing('', truncated(1)) });
  await expect(collected(bucket.list(''))).rejects.toThrow('does not go on');
});

test('S3Bucket.list takes empty pages between others, which some servers give', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.faultOf = ({ number }) => ({
    kind: 'body',
    body:
      number < 4
        ? listing(
            '',
            `<IsTruncated>true</IsTruncated><NextContinuationToken>${number}</NextContinuationToken>`,
          )
        : listing(entry('p/a')),
  });
  const entries = await collected(bucket.list(''));
  expect(entries).toEqual([{ name: 'a', size: 1, modified: new Date('2026-01-02T03:04:05Z') }]);
});

test('S3Bucket.list leaves out an object of the name of the prefix', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.put('p/', Buffer.alloc(0));
  fake.put('p/a', Buffer.alloc(1));
  expect((await collected(bucket.list(''))).map(({ name }) => name)).toEqual(['a']);
});

test('S3Bucket.list understands entities, and no others than those of XML', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.faultOf = () => ({
    kind: 'body',
    body: listing(entry('p/&amp;lt;&#x41;&#66;&quot;&nbsp;&#x110000;')),
  });
  expect((await collected(bucket.list(''))).map(({ name }) => name)).toEqual(['&lt;AB"&nbsp;&#x110000;']);
});

test('S3Bucket.list asks for no more than is wanted', async () => {
  const { fake, bucket } = await fakeBucket();
  for (let i = 0; i < 20; i++) fake.put(`p/${i + 10}`, Buffer.alloc(1));
  expect(await collected(bucket.list('', 1))).toHaveLength(1);
  expect(fake.requests.at(-1)!.query.get('max-keys')).toBe('1');
  for await (const { name } of bucket.list('1')) {
    expect(name).toBe('10');
    break;
  }
});
