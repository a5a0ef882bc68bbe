import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, type TestContext, test } from 'vitest';
import { isRoot, system } from '../acceptance/system.ts';
import { readTree, writeTree } from './file-tree.ts';
import { Judge } from './judge.ts';
import { quickFolder } from './quick-folder.ts';
import { runHere } from './run-here.ts';
import { sampleHistory } from './sample-history.ts';
import { WRITING_VERBS } from './verbs.ts';

/** Bytes that are left on the disk: from nothing to enough for a part of what the verb writes. */
const ROOMS = [0, 4096, 16384, 65536];
const DISK_BYTES = 8 * 2 ** 20;

/** A file system of its own; only root can make one. */
function smallFileSystem(context: TestContext, folder: string): void {
  if (!isRoot) context.skip('only root can mount a small file system');
  mkdirSync(folder);
  try {
    system('mount', '-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', folder);
  } catch (error) {
    context.skip(`no file system can be mounted here: ${String(error)}`);
  }
  onTestFinished(() => {
    system('umount', folder);
  });
}

/** Fills a file system up to so many bytes. */
function fill(path: string, folder: string, room: number): void {
  const { bavail, bsize } = statfsSync(folder);
  writeFileSync(path, Buffer.alloc(Math.max(0, bavail * bsize - room)));
}

test.for(WRITING_VERBS)(
  '$name on a disk that is full says so, and works once there is room',
  { timeout: 0 },
  async (verb, context) => {
    const folder = await quickFolder();
    const small = join(folder, 'small');
    smallFileSystem(context, small);
    const history = await sampleHistory(verb);
    const judge = await Judge.create(verb, history, join(folder, 'scratch'));
    const [place, ballast] = [join(small, 'run'), join(small, 'ballast')];
    const complaints: string[] = [];
    for (const room of ROOMS) {
      writeTree(place, history.tree);
      fill(ballast, small, room);
      const { status, stderr } = await runHere(place, ...verb.args);
      rmSync(ballast);
      const name = `${room} bytes left`;
      if (
        status !== 0 &&
        !(status === 1 && /^imgstore: [^\n]+: no space left on the device[^\n]*\n$/.test(stderr))
      )
        complaints.push(`${verb.name}, ${name}: exit code ${status}: ${stderr}`);
      complaints.push(...(await judge.complaints({ tree: readTree(place), name, done: status === 0 })));
      rmSync(place, { recursive: true });
    }
    expect(complaints).toEqual([]);
  },
);
