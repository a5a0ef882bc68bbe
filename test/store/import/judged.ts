import { truncate } from 'node:fs/promises';
import { expect } from 'vitest';
import {
  commitVersion,
  type ImportedVersion,
  type ImportRequest,
  importImage,
  type Store,
} from '../../../store/index.ts';
import { readVersion } from '../../../store/version/version.ts';
import { qemuImg } from '../../qcow2/qemu.ts';
import { newStore, type TestStore } from '../new-store.ts';

/** Imports an image that lies beside a store. */
export const importOf = (
  { store, file }: TestStore,
  name: string,
  request: Partial<ImportRequest> = {},
): Promise<ImportedVersion[]> => importImage(store, { path: file(name), ...request });

/**
 * Fails unless each version is, cluster by cluster, what a store that knows nothing makes of the disk that QEMU reads from the same file and snapshot.
 */
export async function judgeByQemu(store: Store, versions: readonly ImportedVersion[]): Promise<void> {
  for (const [i, { commit, source }] of versions.entries()) {
    const fresh = await newStore(store.clusterSize);
    const raw = fresh.file(`${i}.raw`);
    const snapshot = source.snapshot === undefined ? [] : ['-l', `snapshot.name=${source.snapshot}`];
    const format = source.file.endsWith('.raw') ? 'raw' : 'qcow2';
    await qemuImg('convert', '-f', format, ...snapshot, '-O', 'raw', source.file, raw);
    // QEMU makes it as long as the disk is now.
    await truncate(raw, readVersion(store.objects, commit).disks[0]!.virtualSize);
    const whole = await commitVersion(fresh.store, { disks: [{ name: 'vda', path: raw }] });
    const { map, virtualSize } = whole.disks[0]!;
    expect(readVersion(store.objects, commit).disks).toMatchObject([{ map, virtualSize }]);
  }
}
