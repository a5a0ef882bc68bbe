import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { AwsClient } from 'aws4fetch';
import { systemCode } from '../../errors/index.ts';
import type { S3Credentials, S3Options } from '../../remote/index.ts';

const SUPERVISOR = fileURLToPath(new URL('rgw-supervisor.mjs', import.meta.url));

/** A Ceph Object Gateway on this machine. */
export interface Rgw {
  /** `http://127.0.0.1:PORT` */
  readonly endpoint: string;
  readonly credentials: S3Credentials;
  /** For processes: where the server is and as whom, and no files of the AWS tools. */
  readonly environment: Readonly<Record<string, string>>;
  /** Makes a bucket of a name by chance; returns the name. */
  newBucket(): Promise<string>;
  /** Options for `openS3` of a bucket. @param place `bucket` or `bucket/prefix` */
  options(place: string): S3Options;
}

/**
 * The Ceph Object Gateway that all test files of a run share. It is started when the first one asks, which takes some seconds, and ends with the process that started this one: the run of vitest.
 * @throws when it cannot be started, with what its parts say
 */
export async function sharedRgw(): Promise<Rgw> {
  return startRgw(process.ppid);
}

/** As {@link sharedRgw}, as long as a process lives. @param owner the process's id */
export async function startRgw(owner: number): Promise<Rgw> {
  const folder = join(tmpdir(), `imgstore-rgw-${userInfo().uid}-${owner}`);
  if (await makeFolder(folder)) {
    const child = spawn(process.execPath, [SUPERVISOR, folder, String(owner)], {
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    });
    child.unref();
  }
  const { endpoint, ...credentials } = JSON.parse(await whenReady(folder)) as S3Credentials & {
    endpoint: string;
  };
  const environment = {
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  };
  return {
    endpoint,
    credentials,
    environment,
    newBucket: () => makeBucket(endpoint, credentials),
    options: (place) => ({ url: `s3://${place}`, environment }),
  };
}

/** @returns false when it was there */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 });
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

async function whenReady(folder: string): Promise<string> {
  for (;;) {
    const failed = await contentOf(join(folder, 'failed'));
    if (failed !== undefined) throw new Error(`the Ceph Object Gateway for tests does not start: ${failed}`);
    const ready = await contentOf(join(folder, 'ready.json'));
    if (ready !== undefined) return ready;
    await sleep(50);
  }
}

async function contentOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function makeBucket(endpoint: string, credentials: S3Credentials): Promise<string> {
  const { accessKeyId, secretAccessKey } = credentials;
  const client = new AwsClient({ accessKeyId, secretAccessKey, service: 's3', region: 'us-east-1' });
  const name = `test-${randomBytes(6).toString('hex')}`;
  const answer = await client.fetch(`${endpoint}/${name}`, { method: 'PUT' });
  if (!answer.ok) throw new Error(`no bucket could be made: ${answer.status} ${await answer.text()}`);
  return name;
}
