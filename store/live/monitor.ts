import { setTimeout as sleep } from 'node:timers/promises';
import { ImgstoreError } from '../../errors/index.ts';
import type { NbdAddress } from '../../nbd/index.ts';
import { isObject, isRefusal, type JsonObject, QmpClient } from '../../nbd/index.ts';

/** A dirty bitmap of a node, as `query-named-block-nodes` has it. */
export interface LiveBitmap {
  readonly name: string;
  readonly recording: boolean;
  readonly persistent: boolean;
  readonly busy: boolean;
  readonly inconsistent: boolean;
}

/** A node of the block layer. */
export interface BlockNode {
  readonly name: string;
  readonly driver: string;
  /** The file, by the name that QEMU has for it; may be relative to its working directory, or no file. */
  readonly file: string;
  /** The files below it, the nearest first. */
  readonly backing: readonly string[];
  /** Bytes of the disk that it shows. */
  readonly size: number;
  readonly readOnly: boolean;
  readonly bitmaps: readonly LiveBitmap[];
  /** A qcow2 that keeps its data in another file, or of version 0.10: it has no bitmaps that we keep up. */
  readonly canTrack: boolean;
}

/** A device of the machine with something in it. */
export interface BlockDevice {
  /** Name of its backend; empty where `-blockdev` was used. */
  readonly name: string;
  /** Path of the device in QEMU's tree of objects. */
  readonly qdev: string;
  readonly removable: boolean;
  readonly node: BlockNode;
}

/** A long-running operation of QEMU. */
export interface Job {
  readonly id: string;
  readonly status: string;
  /** Why it failed. */
  readonly error: string | undefined;
}

const POLL_MS = 10;
/** For what QEMU does when it can: jobs end when the guest's requests have. */
const WAIT_MS = 60_000;

/** The monitor of a machine: what imgstore asks it. What comes from it is checked for its form. */
export class Monitor {
  readonly client: QmpClient;

  private constructor(client: QmpClient) {
    this.client = client;
  }

  /** @throws ImgstoreError `QMP` */
  static async connect(address: NbdAddress, label: string): Promise<Monitor> {
    return new Monitor(await QmpClient.connect(address, { label }));
  }

  get label(): string {
    return this.client.label;
  }

  /** @throws ImgstoreError `QMP` */
  execute(command: string, args?: JsonObject): Promise<unknown> {
    return this.client.execute(command, args);
  }

  /** All of the actions are done, or none. @throws ImgstoreError `QMP` */
  async transaction(actions: readonly Action[]): Promise<void> {
    if (actions.length > 0) await this.execute('transaction', { actions });
  }

  /** Devices with a medium; undefined of a program that has no devices, as qemu-storage-daemon. @throws ImgstoreError `QMP` */
  async devices(): Promise<BlockDevice[] | undefined> {
    try {
      return (await this.#list('query-block')).flatMap((entry) => {
        const node = isObject(entry.inserted) ? this.#node(entry.inserted) : undefined;
        if (node === undefined) return [];
        return [
          { name: text(entry.device), qdev: text(entry.qdev), removable: entry.removable === true, node },
        ];
      });
    } catch (error) {
      if (isRefusal(error, 'CommandNotFound')) return undefined;
      throw error;
    }
  }

  /** @throws ImgstoreError `QMP` */
  async nodes(): Promise<BlockNode[]> {
    const list = await this.#list('query-named-block-nodes');
    return list.map((entry) => this.#node(entry));
  }

  /** @throws ImgstoreError `QMP` */
  async jobs(): Promise<Job[]> {
    return (await this.#list('query-jobs')).map(({ id, status, error }) => ({
      id: text(id),
      status: text(status),
      error: typeof error === 'string' ? error : undefined,
    }));
  }

  /** Ids of exports. @throws ImgstoreError `QMP` */
  async exports(): Promise<string[]> {
    return (await this.#list('query-block-exports')).map(({ id }) => text(id));
  }

  /** Of QEMU, as [major, minor]; zeros if it does not say. @throws ImgstoreError `QMP` */
  async version(): Promise<readonly [number, number]> {
    const answer = await this.execute('query-version');
    const { major, minor } = isObject(answer) && isObject(answer.qemu) ? answer.qemu : {};
    return [typeof major === 'number' ? major : 0, typeof minor === 'number' ? minor : 0];
  }

  /** Whether there are threads that do the requests of some disks. @throws ImgstoreError `QMP` */
  async hasThreads(): Promise<boolean> {
    try {
      const objects = await this.#list('qom-list', { path: '/objects' });
      return objects.some(({ type }) => type === 'child<iothread>');
    } catch (error) {
      // As long as no object of any kind was made.
      if (isRefusal(error, 'DeviceNotFound')) return false;
      throw error;
    }
  }

  /** The property of a device, as text; undefined if it has none. @throws ImgstoreError `QMP` */
  async property(path: string, property: string): Promise<string | undefined> {
    try {
      return text(await this.execute('qom-get', { path, property }));
    } catch (error) {
      if (isRefusal(error)) return undefined;
      throw error;
    }
  }

  /** Waits until something is as it should be. @param what for the message: "the end of job x" @throws ImgstoreError `QMP` */
  async until(what: string, isSo: () => Promise<boolean>): Promise<void> {
    for (const deadline = Date.now() + WAIT_MS; !(await isSo()); await sleep(POLL_MS)) {
      if (Date.now() > deadline)
        throw this.failure(`QEMU has not come to ${what} within ${WAIT_MS / 1000} s`);
    }
  }

  failure(why: string): ImgstoreError {
    return new ImgstoreError('QMP', `${this.label}: ${why}`, { monitor: this.label });
  }

  close(): void {
    this.client.close();
  }

  async #list(command: string, args?: JsonObject): Promise<JsonObject[]> {
    const list = await this.execute(command, args);
    if (!Array.isArray(list) || !list.every(isObject))
      throw this.failure(`${command} gives no list of objects`);
    return list;
  }

  #node(entry: JsonObject): BlockNode {
    const { image } = entry;
    const size = isObject(image) ? image['virtual-size'] : undefined;
    if (!isObject(image) || typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
      throw this.failure(`what it tells of node ${JSON.stringify(entry['node-name'])} has no size`);
    const bitmaps = Array.isArray(entry['dirty-bitmaps']) ? entry['dirty-bitmaps'].filter(isObject) : [];
    return {
      name: text(entry['node-name']),
      driver: text(entry.drv),
      file: fileName(text(entry.file)),
      backing: backingOf(image),
      size,
      readOnly: entry.ro === true,
      // Jobs have some without names.
      bitmaps: bitmaps.map(bitmapOf).filter(({ name }) => name !== ''),
      canTrack: entry.drv === 'qcow2' && hasBitmaps(image),
    };
  }
}

/** One part of a `transaction`. */
export interface Action {
  readonly type: string;
  readonly data: JsonObject;
}

function bitmapOf(entry: JsonObject): LiveBitmap {
  return {
    name: text(entry.name),
    recording: entry.recording === true,
    persistent: entry.persistent === true,
    busy: entry.busy === true,
    inconsistent: entry.inconsistent === true,
  };
}

function hasBitmaps(image: JsonObject): boolean {
  const specific = image['format-specific'];
  const data = isObject(specific) && isObject(specific.data) ? specific.data : {};
  return data.compat === '1.1' && data['data-file'] === undefined && data.corrupt !== true;
}

function backingOf(image: JsonObject): string[] {
  const files: string[] = [];
  for (let below = image['backing-image']; isObject(below); below = below['backing-image'])
    files.push(fileName(text(below.filename)));
  return files;
}

/** The lowest file of what QEMU names by its options (`json:{"driver": …, "file": {"filename": …}}`), as it does when a name does not say all. */
function fileName(name: string): string {
  if (!name.startsWith('json:')) return name;
  try {
    let options: unknown = JSON.parse(name.slice('json:'.length));
    while (isObject(options) && isObject(options.file)) options = options.file;
    return isObject(options) ? text(options.filename) : '';
  } catch {
    return '';
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
