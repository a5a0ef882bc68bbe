import { cpSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { importImage, Store } from '../../../store/index.ts';
import { createOverlay, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { faultRuns, withFaultAt } from '../../reliability/faults.ts';
import { quickFolder } from '../../reliability/quick-folder.ts';
import { runHere, succeedHere } from '../../reliability/run-here.ts';
import { startWithFault } from '../../reliability/start-with-fault.ts';
import { git, gitFsck } from '../git.ts';
import { settle } from '../new-store.ts';

const LONG = process.env.IMGSTORE_LONG === '1';
/** Of the points at which a call may fail one in so many; in the long form every one. */
const FAULT_STEP = LONG ? 1 : 7;
const KILL_STEP = LONG ? 1 : 41;

/** A folder with an empty store, and an image with a base, two snapshots and a present state. */
async function prepared(): Promise<string> {
  const folder = await quickFolder();
  const start = join(folder, 'start');
  await succeedHere(folder, 'init', start, '--cluster-size', '4096');
  const [base, top] = [join(start, 'base.qcow2'), join(start, 'vm.qcow2')];
  await qemuImg('create', '-q', '-f', 'qcow2', base, '1M');
  await qemuIo(base, 'write -P 1 0 64k');
  await createOverlay(top, 'base.qcow2');
  for (const [i, name] of ['one', 'two'].entries()) {
    await qemuIo(top, `write -P ${i + 2} ${i}k 1k`);
    await qemuImg('snapshot', '-c', name, top);
  }
  await qemuIo(top, 'write -P 9 8k 4k');
  await settle();
  return start;
}

/** Where an import is interrupted: a place that can be as it was before, and the refs that are to be there in the end. */
async function repeated(): Promise<{ place: string; renew: () => void; wanted: string }> {
  const start = await prepared();
  const place = join(start, '../run');
  const renew = () => {
    rmSync(place, { recursive: true, force: true });
    cpSync(start, place, { recursive: true, preserveTimestamps: true });
  };
  renew();
  await succeedHere(place, 'import', 'vm.qcow2');
  return { place, renew, wanted: await refsOf(place) };
}

const refsOf = (place: string) => git(join(place, '.imgstore'), 'for-each-ref');

/** Fails unless the store is whole, and running the import again makes what it makes without a fault. */
async function judge(place: string, wanted: string, name: string): Promise<void> {
  const store = join(place, '.imgstore');
  await gitFsck(store);
  const end = await runHere(place, 'import', 'vm.qcow2');
  expect({ name, status: end.status, stderr: end.stderr.replace(/^vm\.qcow2: its history.*\n/, '') }).toEqual(
    {
      name,
      status: 0,
      stderr: '',
    },
  );
  expect(await refsOf(place), name).toBe(wanted);
  await gitFsck(store);
  expect(readdirSync(join(store, 'imgstore/work')), name).toEqual([]);
}

test('importImage leaves a whole store wherever a call fails, and goes on from there', {
  timeout: 0,
}, async () => {
  const { place, renew, wanted } = await repeated();
  expect(wanted.split('\n')).toHaveLength(3);
  let faults = 0;
  for (const kindAt of faultRuns(LONG)) {
    for (let n = 0; ; n += FAULT_STEP) {
      renew();
      const struck = await withFaultAt(n, kindAt(n), async () => {
        const { stderr } = await runHere(place, 'import', 'vm.qcow2', '-q');
        expect(stderr).toMatch(/^(?:imgstore: [^\n]+\n)?$/);
      });
      if (struck === undefined) break;
      faults++;
      await judge(place, wanted, `${kindAt(n).name} at ${n} (${struck})`);
    }
  }
  expect(faults).toBeGreaterThan(20);
});

test('importImage goes on after a kill', { timeout: 0 }, async () => {
  const { place, renew, wanted } = await repeated();
  let kills = 0;
  for (let n = 5; ; n += KILL_STEP) {
    renew();
    const end = await startWithFault(place, `kill@${n}`, ['import', 'vm.qcow2']).end;
    if (end !== 'SIGKILL') break;
    kills++;
    await gitFsck(join(place, '.imgstore'));
    await succeedHere(place, 'import', 'vm.qcow2');
    expect(await refsOf(place), `kill at ${n}`).toBe(wanted);
    await gitFsck(join(place, '.imgstore'));
  }
  expect(kills).toBeGreaterThan(2);
});

test('importImage keeps what it has stored when it is told to stop, and says so', async () => {
  const start = await prepared();
  const store = await Store.open(start);
  try {
    const stop = new AbortController();
    const path = join(start, 'vm.qcow2');
    let told = 0;
    const onProgress = () => {
      told++;
      if (told === 2) stop.abort();
    };
    await expect(importImage(store, { path }, { onProgress, signal: stop.signal })).rejects.toMatchObject({
      code: 'INTERRUPTED',
      message: expect.stringContaining('run it again'),
    });
    expect(await git(join(start, '.imgstore'), 'log', '--reverse', '--format=%s', 'vm')).toMatch(
      /^Import base\.qcow2/,
    );
    await gitFsck(join(start, '.imgstore'));
    expect(await importImage(store, { path })).toHaveLength(4);
  } finally {
    store.close();
  }
});

test('importImage throws IN_USE when a file of the chain changes meanwhile, and keeps whole versions alone', async () => {
  const start = await prepared();
  const store = await Store.open(start);
  try {
    const path = join(start, 'vm.qcow2');
    let told = 0;
    const onProgress = () => {
      told++;
      if (told === 2) rmSync(join(start, 'base.qcow2'));
    };
    await expect(importImage(store, { path }, { onProgress })).rejects.toMatchObject({ code: 'IN_USE' });
    expect(await git(join(start, '.imgstore'), 'log', '--format=%s', 'vm')).toBe('Import base.qcow2');
    await gitFsck(join(start, '.imgstore'));
  } finally {
    store.close();
  }
});
