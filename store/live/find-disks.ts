import { ImgstoreError } from '../../errors/index.ts';
import type { BlockDevice, BlockNode, Monitor } from './monitor.ts';

/** A disk that the user names. */
export interface NamedNode {
  /** Of the disk in the version; `vda`, `vdb`, … in order if not said. */
  readonly name?: string | undefined;
  /** Name of a node, of a device or of its backend. */
  readonly node: string;
}

/** A disk of a machine, and its name in the version. */
export interface LiveDisk {
  readonly name: string;
  readonly node: BlockNode;
  /** Path of its device; undefined of a node that no device has. */
  readonly qdev: string | undefined;
}

const FIRST_LETTER = 'a'.charCodeAt(0);
const MOST_DISKS = 26;

/**
 * The disks of a machine: those that are named, else all that the guest can write to and that cannot be taken out. Firmware is none.
 * @throws ImgstoreError `QMP`, `NOT_FOUND` for a name that is not there, `USAGE`
 */
export async function findDisks(monitor: Monitor, named: readonly NamedNode[]): Promise<LiveDisk[]> {
  const devices = await monitor.devices();
  const disks =
    named.length > 0
      ? await namedDisks(monitor, devices ?? [], named)
      : (devices ?? []).filter(isDisk).map(({ node, qdev }) => ({ name: undefined, node, qdev }));
  if (disks.length === 0) {
    const why = devices === undefined ? 'has no devices' : 'has no disks that a guest can write to';
    throw new ImgstoreError('USAGE', `${monitor.label}: ${why}: name nodes with --node`, {});
  }
  if (disks.length > MOST_DISKS)
    throw new ImgstoreError(
      'USAGE',
      `${monitor.label}: ${disks.length} disks: name those that matter with --node`,
    );
  const twice = disks.find(({ node }, i) => disks.findIndex((other) => other.node.name === node.name) !== i);
  if (twice !== undefined)
    throw new ImgstoreError('USAGE', `${monitor.label}: node '${twice.node.name}' is named twice`);
  return disks.map((disk, i) => ({ ...disk, name: disk.name ?? defaultName(i) }));
}

function defaultName(index: number): string {
  return `vd${String.fromCharCode(FIRST_LETTER + index)}`;
}

function isDisk({ name, qdev, removable, node }: BlockDevice): boolean {
  const isFirmware = /^pflash\d*$/.test(name) || /\/system\.flash\d*$/.test(qdev);
  return !removable && !node.readOnly && !isFirmware && (qdev !== '' || name !== '') && node.size > 0;
}

async function namedDisks(monitor: Monitor, devices: readonly BlockDevice[], named: readonly NamedNode[]) {
  const nodes = await monitor.nodes();
  return named.map((wanted) => {
    const device = devices.find((each) => [each.name, each.qdev, deviceId(each)].includes(wanted.node));
    const node = nodes.find(({ name }) => name === wanted.node) ?? device?.node;
    if (node !== undefined) return { name: wanted.name, node, qdev: deviceOf(devices, node)?.qdev };
    const known = devices.map((each) => each.node.name).join(', ');
    throw new ImgstoreError(
      'NOT_FOUND',
      `${monitor.label}: the machine has no node and no device '${wanted.node}'${known === '' ? '' : `: its disks are ${known}`}`,
      { node: wanted.node },
    );
  });
}

function deviceOf(devices: readonly BlockDevice[], { name }: BlockNode): BlockDevice | undefined {
  return devices.find(({ node }) => node.name === name);
}

/** `id=` of a device, which its path ends with, before what its backend is called. */
function deviceId({ qdev }: BlockDevice): string | undefined {
  return /^\/machine\/peripheral\/([^/]+)/.exec(qdev)?.[1];
}
