import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { beforeAll, expect, test } from 'vitest';
import { ImgstoreError } from '../../../../errors/index.ts';
import { s3Bucket } from '../../../../remote/bucket/s3/s3-bucket.ts';
import type { Bucket } from '../../../../remote/index.ts';
import { collected } from '../../bucket-conformance.ts';
import { QUICK_LIMITS } from '../../fake-s3.ts';
import type { Fault } from '../../fake-s3-faults.ts';
import { type Rgw, sharedRgw } from '../../rgw.ts';
import { fakeBucket } from './fake-bucket.ts';

let rgw: Rgw;
beforeAll(async () => {
  rgw = await sharedRgw();
});

/** The error of an action. */
async function failure(act: () => Promise<unknown>): Promise<ImgstoreError> {
  const error = await act().then(
    () => expect.unreachable('it succeeded'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ImgstoreError);
  expect((error as ImgstoreError).message).not.toContain('\n');
  return error as ImgstoreError;
}

const put = (bucket: Bucket) => failure(() => bucket.put('packs/x.pack', Buffer.from('x')));
const refusal = (status: number, code: string, message = 'Why.'): Fault => ({
  kind: 'status',
  status,
  code,
  message,
});

test('openS3 says in one line what was refused, why, and what to do', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.faultOf = () => refusal(403, 'AccessDenied', 'Access Denied.');
  const error = await put(bucket);
  expect(error.code).toBe('REMOTE_DENIED');
  expect(error.message).toBe(
    "s3://bucket/p: PUT packs/x.pack: 403 AccessDenied: Access Denied: check the key's rights (s3:ListBucket of the bucket; s3:GetObject, s3:PutObject and s3:DeleteObject of what is in it)",
  );
});

test.each([
  ['InvalidAccessKeyId', 403, 'REMOTE_DENIED', 'AWS_ACCESS_KEY_ID'],
  ['SignatureDoesNotMatch', 403, 'REMOTE_DENIED', 'AWS_SECRET_ACCESS_KEY'],
  ['ExpiredToken', 400, 'REMOTE_DENIED', 'get new credentials'],
  ['RequestTimeTooSkewed', 403, 'REMOTE_DENIED', 'set the clock'],
  ['NoSuchBucket', 404, 'REMOTE_FAILED', 'make the bucket'],
  ['EntityTooLarge', 400, 'REMOTE_FAILED', 'no object of that size'],
  ['SomethingNew', 418, 'REMOTE_FAILED', '418 SomethingNew: Why'],
])('openS3 on an answer of %s says what to do', async (reason, status, code, advice) => {
  const { fake, bucket } = await fakeBucket();
  fake.faultOf = () => refusal(status, reason);
  const error = await put(bucket);
  expect(error).toMatchObject({ code, data: { status, reason } });
  expect(error.message).toContain(advice);
});

test('openS3 names the region of a bucket that is elsewhere', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.faultOf = () => ({
    kind: 'status',
    status: 301,
    code: 'PermanentRedirect',
    message: 'Elsewhere',
    headers: { 'x-amz-bucket-region': 'eu-west-3', Location: 'http://127.0.0.1:1/' },
  });
  expect((await put(bucket)).message).toContain('the bucket is in the region eu-west-3: set it by --region');
  expect((await failure(() => bucket.stat('a'))).message).toContain('in the region eu-west-3');
  fake.faultOf = () => ({ kind: 'status', status: 307, body: '' });
  expect((await put(bucket)).message).toContain('check the region and the endpoint');
});

test('openS3 names the region that the server expects in signatures', async () => {
  const { bucket } = await fakeBucket({ region: 'xx-north-7' }, {}, { region: 'xx-south-1' });
  expect((await put(bucket)).message).toContain('the bucket is in the region xx-north-7');
});

test('openS3 says that clocks differ', async () => {
  const { bucket } = await fakeBucket({ skewMs: 3_600_000 });
  const error = await put(bucket);
  expect(error.code).toBe('REMOTE_DENIED');
  expect(error.message).toContain("this machine's clock and the server's differ");
});

test('openS3 with a wrong key or secret is refused by a small server and by Ceph', async () => {
  const place = await rgw.newBucket();
  const { fake } = await fakeBucket();
  for (const { options, keys } of [
    { options: rgw.options(place), keys: rgw.credentials },
    { options: fake.options(), keys: fake.keys },
  ]) {
    for (const [wrong, code] of [
      [{ ...keys, secretAccessKey: 'wrongsecret' }, 'SignatureDoesNotMatch'],
      [{ ...keys, accessKeyId: 'wrongkey' }, 'InvalidAccessKeyId'],
    ] as const) {
      const bucket = s3Bucket({ ...options, credentials: wrong });
      const error = await put(bucket);
      expect(error).toMatchObject({ code: 'REMOTE_DENIED', data: { status: 403, reason: code } });
      expect(JSON.stringify([error.message, error.data, String(error.cause)])).not.toMatch(
        /wrongsecret|Signature=/,
      );
      await bucket.close();
    }
  }
});

test('openS3 on Ceph says that there is no such bucket', async () => {
  const bucket = s3Bucket(rgw.options('nobody-made-this'));
  for (const act of [() => bucket.get('a'), () => collected(bucket.list('')), () => bucket.remove(['a'])])
    expect(await failure(act)).toMatchObject({ code: 'REMOTE_FAILED', data: { reason: 'NoSuchBucket' } });
  expect((await put(bucket)).message).toContain('make the bucket');
  await bucket.close();
});

test('openS3 shows of what a server says one bounded line', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.faultOf = () => refusal(400, 'Bad\u001b[31mCode', `one\ntwo\u001b[2J${'x'.repeat(5000)}`);
  const { message } = await put(bucket);
  expect(message).toMatch(/400 Bad31mCode: one two \[2Jx+…$/);
  expect(message.length).toBeLessThan(400);
});

test('openS3 takes an error without XML, or with XML that wants more than it should', async () => {
  const { fake, bucket } = await fakeBucket();
  for (const body of [
    '',
    'no',
    '<Error><Code>',
    '<!DOCTYPE e [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Error><Code>&b;</Code></Error>',
    `${'<a>'.repeat(5000)}`,
    `<Error>${'x'.repeat(1 << 20)}</Error>`,
    '<__proto__><Code>x</Code></__proto__>',
  ]) {
    fake.faultOf = () => ({ kind: 'status', status: 403, body });
    expect((await put(bucket)).message).toContain('403 Forbidden: check');
  }
});

test('openS3 says that nobody listens, after having tried again', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  const bucket = s3Bucket({
    ...rgw.options('b-b'),
    endpoint: `http://127.0.0.1:${port}`,
    limits: QUICK_LIMITS,
  });
  const error = await put(bucket);
  expect(error.code).toBe('REMOTE_UNREACHABLE');
  expect(error.message).toContain('nobody listens there');
  expect(bucket.traffic.requests).toBe(6);
});

test('openS3 says at once that there is no such host', async () => {
  const bucket = s3Bucket({ ...rgw.options('b-b'), endpoint: 'http://nobody.invalid', limits: QUICK_LIMITS });
  const error = await put(bucket);
  expect(error.code).toBe('REMOTE_UNREACHABLE');
  expect(error.message).toMatch(/no such host|cannot be looked up/);
});

test('openS3 says at once that a server does not speak TLS', async () => {
  const { fake } = await fakeBucket();
  const endpoint = fake.endpoint.replace('http:', 'https:');
  const bucket = s3Bucket({ ...fake.options(), endpoint });
  const error = await put(bucket);
  expect(error.code).toBe('REMOTE_UNREACHABLE');
  expect(error.message).toContain('does not speak TLS');
  expect(bucket.traffic.requests).toBe(1);
});

test('openS3 gives up a host that takes connections and says nothing', async () => {
  const server = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const endpoint = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const limits = { ...QUICK_LIMITS, connectMs: 50, attempts: 2 };
  const bucket = s3Bucket({ ...rgw.options('b-b'), endpoint, limits });
  expect((await put(bucket)).message).toContain('no connection within 50 ms (2 attempts)');
  await bucket.close();
  server.close();
});
