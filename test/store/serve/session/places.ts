import { copyFileSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import type { NbdExport } from '../../../../nbd/index.ts';
import { Sessions, type SessionsOptions } from '../../../../store/serve/session/sessions.ts';
import { qemuBytes, qemuImg } from '../../../qcow2/qemu.ts';
import { commitBytes, newStore, type TestStore } from '../../new-store.ts';

/** A store with a branch `web`, and sessions on it. */
export interface SessionPlace extends TestStore {
  readonly sessions: Sessions;
  readonly overlay: string;
  /** Other sessions of the same store, as those of a server that was started again. */
  readonly again: (options?: Partial<SessionsOptions>) => Promise<Sessions>;
  /** What QEMU reads from the overlay, or a copy of it, on the bytes of the base; fails when it finds corruptions, or leaks that are not allowed. */
  readonly asQemuSees: (options?: {
    readonly overlay?: string;
    readonly mayLeak?: boolean;
  }) => Promise<Buffer>;
}

/** @param bytes of the disk, whose clusters are the smallest that there are unless said otherwise */
export async function sessionPlace(bytes: Uint8Array, clusterSize?: number): Promise<SessionPlace> {
  const made = await newStore(clusterSize);
  await commitBytes(made, 'web', bytes);
  const again = async (options: Partial<SessionsOptions> = {}) => {
    const sessions = await Sessions.open(made.store, { address: { path: '/run/nbd.sock' }, ...options });
    onTestFinished(() => sessions.close().catch(() => {}));
    return sessions;
  };
  const overlay = `${made.path}/imgstore/sessions/web.qcow2`;
  const asQemuSees = async ({ overlay: from = overlay, mayLeak = false } = {}) => {
    const copy = made.file('seen.qcow2');
    copyFileSync(from, copy);
    // No server is there to be asked for what the overlay stands on.
    await qemuImg('rebase', '-u', '-f', 'qcow2', '-b', made.file('web.raw'), '-F', 'raw', copy);
    // It exits with 3 for leaks.
    const found = await qemuImg('check', '--output=json', copy).catch((error) => error.stdout);
    const { corruptions = 0, leaks = 0, 'check-errors': errors } = JSON.parse(found);
    if (corruptions + errors > 0 || (leaks > 0 && !mayLeak)) throw new Error(found);
    return (await qemuBytes(copy)).subarray(0, bytes.length);
  };
  return { ...made, sessions: await again(), overlay, again, asQemuSees };
}

/** All that an export shows. */
export async function bytesOf(disk: NbdExport): Promise<Buffer> {
  const bytes = Buffer.alloc(disk.size, 0xee);
  await disk.read(0, bytes);
  return bytes;
}
