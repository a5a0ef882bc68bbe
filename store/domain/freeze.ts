import { ImgstoreError } from '../../errors/index.ts';
import { holdFrozen } from '../live/freeze.ts';
import type { Domain } from './domain.ts';
import { isRefused, type Virsh } from './virsh.ts';

/**
 * Runs `work` while the file systems of a domain's guest are frozen.
 * @throws ImgstoreError `LIBVIRT`, `QMP` when they were frozen for too long, and what `work` throws
 */
export function whileDomainFrozen(
  virsh: Virsh,
  domain: Domain,
  work: () => Promise<void>,
  onNotice: (notice: string) => void,
): Promise<void> {
  return holdFrozen(
    { freeze: () => freeze(virsh, domain), thaw: () => thawDomain(virsh, domain, onNotice) },
    work,
  );
}

/** Thaws a guest, if it is frozen. */
export async function thawDomain(
  virsh: Virsh,
  { uuid }: Domain,
  onNotice: (notice: string) => void,
): Promise<void> {
  try {
    await virsh.run('domfsthaw', { domain: uuid });
  } catch (error) {
    onNotice(
      `${(error as Error).message}: the file systems of the guest may be frozen: run virsh domfsthaw when its agent answers`,
    );
  }
}

/** An agent refuses to freeze what is frozen, which a killed commit may have left so. */
async function freeze(virsh: Virsh, { name, uuid }: Domain): Promise<void> {
  try {
    await virsh.run('domfsfreeze', { domain: uuid });
  } catch (error) {
    if (!isRefused(error)) throw error;
    try {
      await virsh.run('domfsthaw', { domain: uuid });
      await virsh.run('domfsfreeze', { domain: uuid });
    } catch {
      throw new ImgstoreError(
        'LIBVIRT',
        `domain ${name}: ${(error as Error).message}: --no-freeze stores it as after a power failure`,
        { domain: name },
        error,
      );
    }
  }
}
