import { ImgstoreError } from '../../errors/index.ts';
import { isRefused, type Virsh } from './virsh.ts';
import { parseXml, type XmlElement } from './xml.ts';

const AGENT_CHANNEL = 'org.qemu.guest_agent.0';

/** A disk of a domain. */
export interface DomainDisk {
  /** What the guest knows it by, more or less: `vda`. */
  readonly target: string;
  /** Why it is stored only when it is named, as a part of a line; undefined if it always is. */
  readonly leftOut: string | undefined;
  /** Has no medium: an empty drive. */
  readonly isEmpty: boolean;
  /** Of the top image: `qcow2`, `raw`. */
  readonly format: string;
  /** File or block device; undefined of what is reached by a network. */
  readonly path: string | undefined;
  /** The files below it, the nearest first; an empty name for what is no file. */
  readonly backing: readonly string[];
  /** A thread of its own, or its controller's, may do its requests. */
  readonly hasThread: boolean;
}

/** A machine of libvirt. */
export interface Domain {
  readonly name: string;
  readonly uuid: string;
  readonly isRunning: boolean;
  /** The guest agent has opened its channel. */
  readonly hasAgent: boolean;
  readonly disks: readonly DomainDisk[];
}

/** @param name of the domain, its id or UUID @throws ImgstoreError `NOT_FOUND`, `LIBVIRT` */
export async function findDomain(virsh: Virsh, name: string): Promise<Domain> {
  let text: string;
  try {
    text = await virsh.run('dumpxml', { domain: name });
  } catch (error) {
    if (!isRefused(error, /failed to get domain/)) throw error;
    throw new ImgstoreError(
      'NOT_FOUND',
      `libvirt has no domain '${name}': see 'virsh list --all', and name another libvirt with --connect`,
      { domain: name },
      error,
    );
  }
  return parseDomain(await parseXml(text, 'domain', `domain ${name}`));
}

/** Whether a domain runs still. */
export async function isRunning(virsh: Virsh, { uuid }: Domain): Promise<boolean> {
  try {
    return !/^(?:shut off|crashed)/.test(await virsh.run('domstate', { domain: uuid }));
  } catch (error) {
    if (isRefused(error, /failed to get domain/)) return false;
    throw error;
  }
}

export function parseDomain(xml: XmlElement): Domain {
  const devices = xml.first('devices');
  const controllers = devices?.all('controller') ?? [];
  const scsiThread = controllers.some((each) => each.attribute('type') === 'scsi' && hasThread(each));
  const channels = devices?.all('channel').flatMap((channel) => channel.all('target')) ?? [];
  return {
    name: xml.first('name')?.text ?? '',
    uuid: xml.first('uuid')?.text ?? '',
    isRunning: xml.attribute('id') !== undefined,
    hasAgent: channels.some(
      (target) => target.attribute('name') === AGENT_CHANNEL && target.attribute('state') === 'connected',
    ),
    disks: (devices?.all('disk') ?? []).map((disk) => parseDisk(disk, scsiThread)),
  };
}

function parseDisk(disk: XmlElement, scsiThread: boolean): DomainDisk {
  const target = disk.first('target');
  const isScsi = target?.attribute('bus') === 'scsi';
  return {
    target: target?.attribute('dev') ?? '',
    leftOut: whyLeftOut(disk),
    isEmpty: disk.first('source') === undefined,
    format: disk.first('driver')?.attribute('type') ?? 'raw',
    path: fileOf(disk),
    backing: backingOf(disk),
    hasThread: hasThread(disk) || (isScsi && scsiThread),
  };
}

function whyLeftOut(disk: XmlElement): string | undefined {
  const device = disk.attribute('device') ?? 'disk';
  if (device === 'cdrom') return 'it is a CD-ROM';
  if (device === 'floppy') return 'it is a floppy disk';
  if (device === 'lun') return 'the guest talks to the device itself, past QEMU';
  if (disk.first('readonly') !== undefined) return 'the guest cannot write to it';
  if (disk.first('transient') !== undefined) return 'what is written to it is thrown away';
  if (['vhostuser', 'vhostvdpa'].includes(disk.attribute('type') ?? ''))
    return 'another program than QEMU has it';
  return undefined;
}

function hasThread(device: XmlElement): boolean {
  const driver = device.first('driver');
  return driver?.attribute('iothread') !== undefined || driver?.first('iothreads') !== undefined;
}

/** The file or device of a `<disk>` or `<backingStore>`. */
function fileOf(element: XmlElement): string | undefined {
  const source = element.first('source');
  return source?.attribute('file') ?? source?.attribute('dev');
}

function backingOf(disk: XmlElement): string[] {
  const files: string[] = [];
  for (
    let below = disk.first('backingStore');
    below?.first('source') !== undefined;
    below = below.first('backingStore')
  )
    files.push(fileOf(below) ?? '');
  return files;
}
