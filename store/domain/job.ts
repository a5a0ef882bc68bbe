import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ImgstoreError, shellWord } from '../../errors/index.ts';
import { isLeftBehind } from '../../files/index.ts';
import { isThere } from '../live/is-there.ts';
import { FOLDER_PREFIX } from '../live/names.ts';
import { removeOldScratch } from '../live/scratch.ts';
import type { Domain } from './domain.ts';
import { isRefused, type Virsh } from './virsh.ts';
import { parseXml } from './xml.ts';

const POLL_MS = 20;
/** In which libvirt begins or ends a backup as a rule. */
const SETTLE_MS = 5000;
/** QEMU ends a backup when the guest's requests have ended. */
const WAIT_MS = 60_000;

/** A backup that libvirt makes of a domain. */
interface BackupJob {
  /** Of its NBD server; undefined when it has none on a unix socket. */
  readonly socket: string | undefined;
  readonly scratch: readonly string[];
}

/** The backup that is made of a domain now. @throws ImgstoreError `LIBVIRT` */
export async function currentBackup(virsh: Virsh, { uuid, name }: Domain): Promise<BackupJob | undefined> {
  let text: string;
  try {
    text = await virsh.run('backup-dumpxml', { domain: uuid });
  } catch (error) {
    if (isRefused(error, /no domain backup job present/)) return undefined;
    throw error;
  }
  const xml = await parseXml(text, 'domainbackup', `domain ${name}`);
  const disks = xml.first('disks')?.all('disk') ?? [];
  return {
    socket: xml.first('server')?.attribute('socket'),
    scratch: disks.flatMap((disk) => disk.first('scratch')?.attribute('file') ?? []),
  };
}

/** Ends the backup of a domain; its files are gone then. @throws ImgstoreError `LIBVIRT` */
export async function endBackup(virsh: Virsh, domain: Domain): Promise<void> {
  try {
    await virsh.run('domjobabort', { domain: domain.uuid });
  } catch (error) {
    if (!isRefused(error, /no job is active/)) throw error;
  }
  for (const deadline = Date.now() + WAIT_MS; await hasJob(virsh, domain); await sleep(POLL_MS)) {
    if (Date.now() > deadline)
      throw new ImgstoreError(
        'LIBVIRT',
        `domain ${domain.name}: libvirt has not ended the backup within ${WAIT_MS / 1000} s`,
      );
  }
}

/**
 * Ends the backup that a killed commit has left. Returns whether there was one.
 * @throws ImgstoreError `BUSY` when another imgstore may still need it, and for any other job of libvirt, `LIBVIRT`, `IO`
 */
export async function endLeftBackup(virsh: Virsh, domain: Domain): Promise<boolean> {
  const backup = await settledBackup(virsh, domain);
  if (backup === undefined) return false;
  const folders = backup.scratch.map((file) => dirname(file));
  for (const folder of folders) await refuseAlive(domain, folder);
  if (folders.length === 0) throw othersBackup(domain);
  await endBackup(virsh, domain);
  for (const folder of new Set(folders.map((each) => dirname(each)))) await removeOldScratch(folder);
  return true;
}

/** As {@link currentBackup}, when libvirt has begun or ended it: a killed commit may have left a virsh that does that. */
async function settledBackup(virsh: Virsh, domain: Domain): Promise<BackupJob | undefined> {
  for (const deadline = Date.now() + SETTLE_MS; ; await sleep(POLL_MS)) {
    const backup = await currentBackup(virsh, domain);
    if (backup !== undefined || !(await hasJob(virsh, domain))) return backup;
    if (Date.now() > deadline) throw busy(domain, 'libvirt has another job with it: wait for its end');
  }
}

/** Of a failure to begin, when it was because of another job. @returns the failure itself for all others */
export function asBusy(error: unknown, domain: Domain): unknown {
  if (!isRefused(error, /cannot acquire state change lock|another job|job is (?:already )?active/i))
    return error;
  return busy(domain, 'libvirt has another job with it: wait for its end', error);
}

async function hasJob(virsh: Virsh, { uuid }: Domain): Promise<boolean> {
  const said = await virsh.run('domjobinfo', { domain: uuid });
  return !/^Job type:\s+None/m.test(said);
}

async function refuseAlive(domain: Domain, folder: string): Promise<void> {
  if (!basename(folder).startsWith(FOLDER_PREFIX)) throw othersBackup(domain);
  const gone = isLeftBehind(basename(folder));
  // One that could not end its backup, since libvirt was away, has removed its folder all the same.
  if (gone === true || (gone === false && !(await isThere(folder)))) return;
  const command = `virsh domjobabort ${shellWord(domain.name)}`;
  throw busy(
    domain,
    gone === false
      ? 'another imgstore commits it: wait for its end'
      : `an imgstore in another container or on another machine commits it, or was killed: end it there, or run ${command}`,
  );
}

function othersBackup(domain: Domain): ImgstoreError {
  const command = `virsh domjobabort ${shellWord(domain.name)}`;
  return busy(domain, `another program makes a backup of it: wait for its end, or run ${command}`);
}

function busy({ name }: Domain, why: string, cause?: unknown): ImgstoreError {
  return new ImgstoreError('BUSY', `domain ${name}: ${why}`, { domain: name }, cause);
}
