import { basename, dirname } from 'node:path';
import { ImgstoreError } from '../../errors/index.ts';
import { isLeftBehind } from '../../files/index.ts';
import { isThere } from './is-there.ts';
import type { Monitor } from './monitor.ts';
import { isLiveName, isScratchFileName } from './names.ts';
import { removeOldScratch, socketOf } from './scratch.ts';

/**
 * Takes out of a machine what a killed commit has left there: exports, the server if it is that commit's, jobs, nodes, and the folders of
 * their files. Returns whether there was anything.
 * @throws ImgstoreError `BUSY` when that commit may still run, `QMP`, `IO`
 */
export async function removeLeftovers(monitor: Monitor): Promise<boolean> {
  const files = (await monitor.nodes()).filter(({ name }) => isScratchFileName(name)).map(({ file }) => file);
  for (const file of files) refuseAlive(monitor, file);
  const sockets = new Set<string>();
  for (const file of files) {
    const socket = await socketOf(file);
    if (socket !== undefined && (await isThere(socket))) sockets.add(socket);
  }
  await removeExports(monitor);
  if (sockets.size > 0) await monitor.execute('nbd-server-stop');
  await cancelJobs(monitor);
  const found = await removeNodes(monitor);
  for (const folder of new Set(files.map((file) => dirname(dirname(file))))) await removeOldScratch(folder);
  return found;
}

/** Removes the exports of a commit; clients are cut off. @throws ImgstoreError `QMP` */
export async function removeExports(monitor: Monitor): Promise<void> {
  const ours = async () => (await monitor.exports()).filter(isLiveName);
  for (const id of await ours()) await monitor.execute('block-export-del', { id, mode: 'hard' });
  await monitor.until('the end of exports', async () => (await ours()).length === 0);
}

/** Ends the jobs of a commit. @throws ImgstoreError `QMP` */
export async function cancelJobs(monitor: Monitor): Promise<void> {
  const ours = async () => (await monitor.jobs()).filter(({ id }) => isLiveName(id));
  const [isOver, isEnding] = [new Set(['concluded']), new Set(['concluded', 'aborting', 'null'])];
  for (const { id, status } of await ours())
    if (!isEnding.has(status)) await monitor.execute('job-cancel', { id });
  await monitor.until('the end of jobs', async () =>
    (await ours()).every(({ status }) => isOver.has(status)),
  );
  for (const { id } of await ours()) await monitor.execute('job-dismiss', { id });
}

/** Removes the scratch nodes of a commit, and with them their files' nodes. Returns whether there were any. @throws ImgstoreError `QMP` */
export async function removeNodes(monitor: Monitor): Promise<boolean> {
  const names = (await monitor.nodes()).map(({ name }) => name).filter(isLiveName);
  for (const name of names) await monitor.execute('blockdev-del', { 'node-name': name });
  return names.length > 0;
}

/** @throws ImgstoreError `BUSY` */
function refuseAlive(monitor: Monitor, file: string): void {
  const gone = isLeftBehind(basename(dirname(file)));
  if (gone === true) return;
  const why =
    gone === false
      ? 'another imgstore commits this machine: wait for its end'
      : `an imgstore in another container or on another machine commits this machine, or was killed: end it there, or remove the node that has ${file} by blockdev-del`;
  throw new ImgstoreError('BUSY', `${monitor.label}: ${why}`, { file });
}
