import { ImgstoreError, shellWord } from '../../errors/index.ts';
import type { NamedNode } from '../live/find-disks.ts';
import type { Domain, DomainDisk } from './domain.ts';

/** A disk that is to be stored. */
export interface ChosenDisk {
  /** In the version. */
  readonly name: string;
  readonly disk: DomainDisk;
}

/**
 * The disks of a domain: those that are named by target or path, else all that the guest can write to and that cannot be taken out.
 * @param onNotice called with those that are left out
 * @throws ImgstoreError `NOT_FOUND` for a name that is not there, `USAGE`
 */
export function chooseDisks(
  { name: domain, disks }: Domain,
  named: readonly NamedNode[],
  onNotice: (notice: string) => void,
): ChosenDisk[] {
  if (named.length > 0) return named.map((wanted) => namedDisk(domain, disks, wanted));
  for (const { target, leftOut, isEmpty } of disks)
    if (leftOut !== undefined && !isEmpty) onNotice(`disk ${target} is left out: ${leftOut}`);
  const chosen = disks.filter(({ leftOut, isEmpty }) => leftOut === undefined && !isEmpty);
  if (chosen.length === 0)
    throw new ImgstoreError(
      'USAGE',
      `domain ${domain}: has no disks that a guest can write to: name disks with --node`,
      { domain },
    );
  return chosen.map((disk) => ({ name: disk.target, disk }));
}

function namedDisk(domain: string, disks: readonly DomainDisk[], { name, node }: NamedNode): ChosenDisk {
  const disk = disks.find(({ target, path }) => target === node || path === node);
  if (disk !== undefined && !disk.isEmpty) return { name: name ?? disk.target, disk };
  const known = disks.map(({ target }) => target).join(', ');
  throw new ImgstoreError(
    'NOT_FOUND',
    `domain ${domain}: has no disk '${node}'${known === '' ? '' : `: its disks are ${known}`}`,
    { domain, node },
  );
}

/** @throws ImgstoreError `USAGE` with the command for the files of a domain that does not run */
export function refuseShutOff(domain: Domain, chosen: readonly ChosenDisk[], branch: string): void {
  if (domain.isRunning) return;
  const disks = chosen.map(({ name, disk }) => `--disk ${shellWord(`${name}=${disk.path ?? '?'}`)}`);
  throw new ImgstoreError(
    'USAGE',
    `domain ${domain.name} is shut off: store its disks by: imgstore commit ${disks.join(' ')} -b ${shellWord(branch)}`,
    { domain: domain.name, disks: chosen.map(({ disk }) => disk.path) },
  );
}
