import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, truncate, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { promisify } from 'node:util';
import { expect, onTestFinished, type TestContext, test } from 'vitest';
import { Workplace } from '../cmd/imgstore.ts';
import { noise } from '../objects/noise.ts';
import { type Rgw, sharedRgw } from '../remote/rgw.ts';
import { bootFilesIn, bootFrom, diskToStart } from './machine.ts';

const run = promisify(execFile);
const MEBIBYTE = 2 ** 20;

/** What a machine has besides what it starts from: programs, libraries, data. */
const MORE = { files: 40, bytes: 3 * MEBIBYTE };

test('a lazy clone starts a machine having fetched less than a quarter of the stored bytes of its disk', {
  timeout: 0,
}, async (context) => {
  if (!existsSync('/dev/fuse')) context.skip('no FUSE here');
  const rgw = await sharedRgw();
  const disk = await diskWithMore(context);
  const from = workplaceOf(rgw, (await Workplace.withStore()).folder);
  await from.ok('commit', disk, '-b', 'web');
  const { storedBytes } = await from.json('stats');
  const url = `s3://${await rgw.newBucket()}/vms`;
  await from.ok('remote', 'add', 'origin', url);
  await from.ok('push');

  const line = await countedLine(rgw.endpoint);
  const place = workplaceOf(rgw, (await Workplace.create()).folder, line.endpoint);
  await place.ok('clone', '--lazy', url, '.');
  await place.serve();
  const uri = `nbd+unix:///web?socket=${place.path('.imgstore/imgstore/nbd.sock')}`;
  const files = await bootFilesBy(place, uri);
  await place.ok('checkout', 'web', '-o', 'web.qcow2', '--backing', 'nbd');
  const said = await bootFrom(files, place.path('web.qcow2'), 'sha256sum /bin/sh; echo BOOTED-OK');
  expect(said).toMatch(/^BOOTED-OK\r?$/m);
  expect(storedBytes).toBeGreaterThan(100 * MEBIBYTE);
  expect(line.received()).toBeLessThan(storedBytes / 4);
});

function workplaceOf(rgw: Rgw, folder: string, endpoint = rgw.endpoint): Workplace {
  return new Workplace(folder, { ...rgw.environment, AWS_ENDPOINT_URL_S3: endpoint });
}

/** The disk to start with more on it, of a machine's size. */
async function diskWithMore(context: TestContext): Promise<string> {
  const place = await Workplace.create();
  const disk = place.path('web.raw');
  await copyFile(await diskToStart(context), disk);
  await truncate(disk, 512 * MEBIBYTE);
  await run('e2fsck', ['-fy', disk]).catch(() => {});
  await run('resize2fs', [disk]);
  const more = place.path('more');
  await mkdir(more);
  const commands: string[] = ['mkdir /srv'];
  for (let i = 0; i < MORE.files; i++) {
    await writeFile(place.path('more', `${i}`), noise(MORE.bytes, 1000 + i));
    commands.push(`write ${place.path('more', `${i}`)} /srv/${i}`);
  }
  await writeFile(place.path('commands'), `${commands.join('\n')}\n`);
  await run('debugfs', ['-w', '-f', place.path('commands'), disk]);
  return disk;
}

/** Takes kernel and initrd out of an export, as a boot loader reads them. */
async function bootFilesBy(place: Workplace, uri: string) {
  await mkdir(place.path('mounted'));
  const fuse = execFile('nbdfuse', ['-r', place.path('mounted/disk'), uri]);
  try {
    await expect.poll(() => existsSync(place.path('mounted/disk')), { timeout: 60_000 }).toBe(true);
    return await bootFilesIn(place, place.path('mounted/disk'));
  } finally {
    await run('fusermount', ['-u', place.path('mounted')]).catch(() => fuse.kill());
  }
}

/** A way to a server on which what comes from there is counted. */
async function countedLine(endpoint: string) {
  let received = 0;
  const port = Number(new URL(endpoint).port);
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    far.on('data', (bytes) => {
      received += bytes.length;
    });
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const address = server.address() as { port: number };
  return { endpoint: `http://127.0.0.1:${address.port}`, received: () => received };
}
