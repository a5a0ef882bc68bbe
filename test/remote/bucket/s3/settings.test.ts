import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseAwsFile } from '../../../../remote/bucket/s3/aws-files.ts';
import type { Environment, S3Options } from '../../../../remote/bucket/s3/options.ts';
import { resolveSettings } from '../../../../remote/bucket/s3/settings.ts';
import { temporaryFolder } from '../../../block/temporary-folder.ts';

const KEYS = { AWS_ACCESS_KEY_ID: 'envkey', AWS_SECRET_ACCESS_KEY: 'envsecret' };
const REGION = { AWS_REGION: 'eu-west-1' };
const NO_FILES = { HOME: '/nonexistent' };

const settings = (environment: Environment, options: Partial<S3Options> = {}) =>
  resolveSettings({ url: 's3://bucket/p', environment: { ...NO_FILES, ...environment }, ...options });

/** A home folder with files of the AWS tools. */
async function home(credentials: string | undefined, config?: string): Promise<Environment> {
  const folder = await temporaryFolder();
  mkdirSync(join(folder, '.aws'));
  if (credentials !== undefined) writeFileSync(join(folder, '.aws/credentials'), credentials);
  if (config !== undefined) writeFileSync(join(folder, '.aws/config'), config);
  return { HOME: folder };
}

test('resolveSettings takes everything from the environment', async () => {
  expect(settings({ ...KEYS, ...REGION, AWS_SESSION_TOKEN: 'token' })).toEqual({
    bucket: 'bucket',
    prefix: 'p/',
    where: 's3://bucket/p',
    region: 'eu-west-1',
    credentials: { accessKeyId: 'envkey', secretAccessKey: 'envsecret', sessionToken: 'token' },
    base: 'https://bucket.s3.eu-west-1.amazonaws.com',
  });
  expect(settings({ ...KEYS, AWS_DEFAULT_REGION: 'cn-north-1' }).base).toBe(
    'https://bucket.s3.cn-north-1.amazonaws.com.cn',
  );
});

test('resolveSettings prefers options to the environment, and that to files', async () => {
  const files = await home(
    '[default]\naws_access_key_id = filekey\naws_secret_access_key = filesecret\n',
    '[default]\nregion = file-region\nendpoint_url = https://file.example\n',
  );
  const both = { ...files, ...KEYS, ...REGION, AWS_ENDPOINT_URL: 'https://env.example' };
  const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };
  expect(settings(both, { credentials, region: 'own', endpoint: 'https://own.example' })).toMatchObject({
    credentials,
    region: 'own',
    base: 'https://own.example/bucket',
  });
  expect(settings(both)).toMatchObject({
    credentials: { accessKeyId: 'envkey' },
    region: 'eu-west-1',
    base: 'https://env.example/bucket',
  });
  expect(settings(files)).toMatchObject({
    credentials: { accessKeyId: 'filekey', secretAccessKey: 'filesecret' },
    region: 'file-region',
    base: 'https://file.example/bucket',
  });
});

test('resolveSettings prefers the endpoint that is for S3 alone', async () => {
  const both = {
    ...KEYS,
    AWS_ENDPOINT_URL_S3: 'https://s3.example',
    AWS_ENDPOINT_URL: 'https://all.example',
  };
  expect(settings(both)).toMatchObject({ base: 'https://s3.example/bucket', region: 'us-east-1' });
});

test('resolveSettings puts the bucket into the host or the path', async () => {
  const at = (options: Partial<S3Options>) => settings({ ...KEYS, ...REGION }, options).base;
  const endpoint = 'http://s3.example:9000/below/';
  expect(at({ endpoint })).toBe('http://s3.example:9000/below/bucket');
  expect(at({ endpoint, pathStyle: false })).toBe('http://bucket.s3.example:9000/below');
  expect(at({ pathStyle: true })).toBe('https://s3.eu-west-1.amazonaws.com/bucket');
  expect(at({ url: 's3://a.dotted.bucket' })).toBe('https://s3.eu-west-1.amazonaws.com/a.dotted.bucket');
  expect(at({ url: 's3://Old_Bucket' })).toBe('https://s3.eu-west-1.amazonaws.com/Old_Bucket');
  for (const [style, base] of [
    ['path', 'https://s3.eu-west-1.amazonaws.com/bucket'],
    ['virtual', 'https://bucket.s3.eu-west-1.amazonaws.com'],
  ] as const) {
    const files = await home(undefined, `[default]\ns3 =\n  addressing_style = ${style}\n`);
    expect(settings({ ...files, ...KEYS, ...REGION }).base).toBe(base);
  }
});

test('resolveSettings takes the profile that is named', async () => {
  const files = await home(
    '[one]\naws_access_key_id=k1\naws_secret_access_key=s1\n[a.b c]\naws_access_key_id=k2\naws_secret_access_key=s2\naws_session_token=t2\n',
    '[profile one]\nregion=r1\n[profile a.b c]\nregion=r2\nendpoint_url=https://two.example\n',
  );
  expect(settings({ ...files, AWS_PROFILE: 'one' })).toMatchObject({
    region: 'r1',
    credentials: { accessKeyId: 'k1' },
  });
  expect(settings({ ...files, AWS_PROFILE: 'one' }, { profile: 'a.b c' })).toMatchObject({
    region: 'r2',
    credentials: { accessKeyId: 'k2', sessionToken: 't2' },
    base: 'https://two.example/bucket',
  });
  // As in the AWS tools: a profile that is asked for goes before the environment's keys, one of AWS_PROFILE behind.
  expect(settings({ ...files, ...KEYS }, { profile: 'one' }).credentials.accessKeyId).toBe('k1');
  expect(settings({ ...files, ...KEYS, AWS_PROFILE: 'one' }).credentials.accessKeyId).toBe('envkey');
  expect(() => settings(files, { profile: 'three' })).toThrow(expect.objectContaining({ code: 'USAGE' }));
  expect(() => settings(files, { profile: 'three' })).toThrow('no profile three');
});

test('resolveSettings reads the files that the environment names', async () => {
  const folder = await temporaryFolder();
  const [credentials, config] = [join(folder, 'a'), join(folder, 'b')];
  writeFileSync(credentials, '[default]\naws_access_key_id=k\naws_secret_access_key=s\n');
  writeFileSync(config, '[default]\nregion=r\n');
  const named = { AWS_SHARED_CREDENTIALS_FILE: credentials, AWS_CONFIG_FILE: config };
  expect(settings(named)).toMatchObject({ region: 'r', credentials: { accessKeyId: 'k' } });
  expect(() => settings({ ...named, AWS_CONFIG_FILE: folder })).toThrow(
    expect.objectContaining({ code: 'IO' }),
  );
});

test('resolveSettings says what to set when something is missing', async () => {
  expect(() => settings(REGION)).toThrow(
    expect.objectContaining({
      code: 'REMOTE_DENIED',
      message: expect.stringMatching(
        /^s3:\/\/bucket\/p: no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_/,
      ),
    }),
  );
  expect(() => settings({ ...REGION, AWS_ACCESS_KEY_ID: 'k' })).toThrow('no credentials');
  expect(() => settings(KEYS)).toThrow('no region is set: set it by --region or AWS_REGION');
  expect(() => settings({ ...KEYS, AWS_REGION: 'eu west' })).toThrow('the region is no name of one');
});

test('resolveSettings says that it does not get credentials by a role or another program', async () => {
  for (const line of [
    'role_arn = arn:aws:iam::1:role/x',
    'credential_process = /bin/true',
    'sso_session = x',
  ]) {
    const files = await home(undefined, `[default]\nregion = r\n${line}\n`);
    expect(() => settings(files)).toThrow('aws configure export-credentials');
  }
});

test('resolveSettings refuses endpoints that are none, and does not repeat them', async () => {
  for (const endpoint of [
    's3.example',
    'ftp://s3.example',
    'https://user:hidden@s3.example',
    'https://s3.example/?key=hidden',
    'https://s3.example/#hidden',
    '',
  ]) {
    expect(() => settings({ ...KEYS, ...REGION }, { endpoint })).toThrow(
      'the endpoint is no URL of a server',
    );
    expect(() => settings({ ...KEYS, ...REGION }, { endpoint })).not.toThrow('hidden');
  }
});

test('resolveSettings refuses keys that no header can hold, and does not repeat them', async () => {
  for (const wrong of [{ AWS_ACCESS_KEY_ID: 'hid\nden' }, { AWS_SESSION_TOKEN: 'hid\u0000den' }]) {
    const environment = { ...KEYS, ...REGION, ...wrong };
    expect(() => settings(environment)).toThrow(expect.objectContaining({ code: 'REMOTE_DENIED' }));
    expect(() => settings(environment)).not.toThrow('hid');
  }
});

test('parseAwsFile reads comments, quotes, odd names and secrets with odd characters', async () => {
  const text = [
    '# a comment',
    'lost = before any section',
    '[default] ; the first',
    'aws_secret_access_key = a#b;c/d+e=  # a comment',
    '; another = one',
    'region=eu-west-1\r',
    '',
    '[profile  two.three]',
    's3 =',
    '  addressing_style = path',
    '[default]',
    'later = 1',
    '[__proto__]',
    'x = y',
    '[broken',
    'x = z',
  ].join('\n');
  const sections = parseAwsFile(text);
  expect([...sections.keys()]).toEqual(['default', 'profile two.three', '__proto__']);
  expect(sections.get('default')).toEqual({
    aws_secret_access_key: 'a#b;c/d+e=',
    region: 'eu-west-1',
    later: '1',
  });
  expect(sections.get('profile two.three')?.addressing_style).toBe('path');
});
