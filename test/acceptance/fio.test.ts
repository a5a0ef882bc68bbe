import { execFile, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { Workplace } from '../cmd/imgstore.ts';
import { noise, qemuImg } from '../qcow2/qemu.ts';

const MIB = 2 ** 20;
/** What each of the two jobs writes to. */
const REGION = 24 * MIB;

interface JobReport {
  readonly jobname: string;
  readonly error: number;
  readonly read: { readonly io_bytes: number };
  readonly write: { readonly io_bytes: number };
}

/** Whether there is a fio that speaks NBD. */
function hasFio(): boolean {
  return spawnSync('fio', ['--enghelp'], { encoding: 'utf8' }).stdout?.includes('nbd') ?? false;
}

test('fio writes to a branch at a depth of 16 by two jobs, and finds it all in the export and in the version that is committed', async ({
  skip,
}) => {
  if (!hasFio()) return skip('fio with its engine nbd is not installed');
  const place = await Workplace.withStore();
  writeFileSync(place.path('web.raw'), Buffer.concat([noise(8 * MIB, 1), Buffer.alloc(2 * REGION)]));
  await place.ok('commit', 'web.raw');
  await place.serve('--writable');
  const uri = (name: string) => `nbd+unix:///${name}?socket=${place.path('.imgstore/imgstore/nbd.sock')}`;
  const fio = async (name: string, ...options: readonly string[]) => {
    const all = ['--ioengine=nbd', `--uri=${uri(name)}`, '--bs=16k', '--iodepth=16', '--verify=crc32c'];
    const both = [...all, '--verify_fatal=1', '--verify_state_save=0', `--size=${REGION}`, ...options];
    const job = (i: number) => [`--name=region-${i}`, ...both, `--offset=${8 * MIB + i * REGION}`];
    const args = ['--output-format=json', ...job(0), ...job(1)];
    const { stdout } = await promisify(execFile)('fio', args, { cwd: place.folder });
    // Messages of its engines stand in front.
    return (JSON.parse(stdout.slice(stdout.indexOf('{'))) as { readonly jobs: readonly JobReport[] }).jobs;
  };
  for (const { error, read, write } of await fio('web', '--rw=randwrite', '--do_verify=1'))
    expect([error, write.io_bytes, read.io_bytes]).toEqual([0, REGION, REGION]);
  await qemuImg('convert', '-f', 'raw', '-O', 'qcow2', uri('web'), place.path('copy.qcow2'));

  const { commit } = await place.json('session', 'commit', 'web');
  for (const { error, read, write } of await fio(String(commit), '--rw=randread'))
    expect([error, write.io_bytes, read.io_bytes]).toEqual([0, 0, REGION]);
  // It would have found a wrong byte.
  await promisify(execFile)('qemu-io', ['-f', 'raw', '-c', 'write -P 1 40M 1k', '-c', 'flush', uri('web')]);
  await expect(fio('web', '--rw=randread')).rejects.toThrow('verify');
  expect(await place.ok('compare', 'web', 'copy.qcow2')).toBe('identical\n');
  await place.ok('checkout', String(commit), '-o', 'out.qcow2');
  await qemuImg('compare', place.path('out.qcow2'), place.path('copy.qcow2'));
  expect(place.git('fsck', '--full', '--strict', '--no-dangling')).toBe('');
});
