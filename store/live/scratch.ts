import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readlink, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';
import { randomOwnerSuffix, removeLeftBehindIn } from '../../files/index.ts';
import { isListening } from '../../nbd/index.ts';
import { Qcow2Writer } from '../../qcow2/index.ts';
import type { ImageFile } from './image-file.ts';
import { FOLDER_PREFIX } from './names.ts';

/** Of scratch files: what QEMU copies at once, when the guest writes. */
const SCRATCH_CLUSTER = 65536;
/** The bitmap in a scratch file that has the last granule as dirty. */
export const MARK = 'mark';
/** Unix sockets have room for 107 bytes; folders' names have up to 80. */
const MOST_TEMPORARY_BYTES = 20;
/** Where the socket is, in the folder of scratch files, so that it is found when both were left behind. */
const SOCKET_LINK = 'socket';
const SOCKET_FILE = 'nbd';

/** A disk for which a scratch file is needed. */
export interface ScratchDisk {
  /** Bytes. */
  readonly size: number;
  /** Of the bitmap with the mark. */
  readonly granularity: number;
}

/** Where scratch files go. */
export interface ScratchPlace {
  /** In which a folder for them is made. */
  readonly folder: string;
  /** A file with whose owner's rights QEMU runs, and who gets them. */
  readonly like: string;
}

/** Files of one commit of a running machine: what disks held where the guest has written since, and the socket over which they are read. */
export class ScratchFolder {
  readonly path: string;
  readonly socket: string;
  readonly #socketFolder: string;

  private constructor(path: string, socketFolder: string) {
    this.path = path;
    this.#socketFolder = socketFolder;
    this.socket = join(socketFolder, SOCKET_FILE);
  }

  /**
   * Makes folders that only the owner of the image can enter, and who runs as root: QEMU mostly runs as that.
   * @throws ImgstoreError `IO`, `NOT_FOUND`
   */
  static async create({ folder, like }: ScratchPlace): Promise<ScratchFolder> {
    const name = `${FOLDER_PREFIX}${randomOwnerSuffix()}`;
    const made = new ScratchFolder(join(folder, name), join(temporaryFolder(), name));
    try {
      const owner = await ownerOf(like);
      for (const path of new Set([made.path, made.#socketFolder])) {
        await mkdir(path, { mode: 0o700 });
        if (owner !== undefined) await giveFolder(path, owner);
      }
      await symlink(made.socket, join(made.path, SOCKET_LINK));
      return made;
    } catch (error) {
      await made.remove();
      throw fromSystem(error, made.path);
    }
  }

  /** Makes an empty qcow2, with a bitmap that QEMU is to take over into that of the disk. Returns its path. @throws ImgstoreError `IO` */
  async addFile(name: string, { size, granularity }: ScratchDisk): Promise<string> {
    const path = join(this.path, `${name}.qcow2`);
    let file: FileHandle | undefined;
    try {
      file = await open(path, 'wx', 0o600);
      const owner = await ownerOf(this.path);
      if (owner !== undefined) await file.chown(owner.uid, owner.gid);
      await writeScratch(file, size, granularity);
      return path;
    } catch (error) {
      throw fromSystem(error, path);
    } finally {
      await file?.close();
    }
  }

  async remove(): Promise<void> {
    for (const path of [this.path, this.#socketFolder]) await rm(path, { recursive: true, force: true });
  }
}

/** The socket that belongs to a scratch file; undefined when that is gone. */
export async function socketOf(scratchFile: string): Promise<string | undefined> {
  try {
    return await readlink(join(dirname(scratchFile), SOCKET_LINK));
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}

/**
 * Removes what killed commits have left in a folder for scratch files, and their sockets. Where a QEMU still listens both stay, as the next commit of that machine knows by them that the server is ours to be stopped.
 * @throws ImgstoreError `IO`
 */
export async function removeOldScratch(folder: string): Promise<void> {
  for (const each of new Set([folder, temporaryFolder()]))
    await removeLeftBehindIn('live', each, FOLDER_PREFIX, isServed);
}

/** Whether somebody listens at the socket of a folder of scratch files, or in a folder of a socket. */
async function isServed(path: string): Promise<boolean> {
  const socket = await readlink(join(path, SOCKET_LINK)).catch(() => join(path, SOCKET_FILE));
  // What this process may not look at, it may not remove either.
  return isListening(socket).catch(() => false);
}

/**
 * Where scratch files for disks go: into the folder that is named, or beside the first image. What killed commits have left there is removed.
 * @param label of the machine, for errors
 * @throws ImgstoreError `USAGE` when none is named, and the first image is no file, or not on this machine; `IO`
 */
export async function scratchPlace(
  disks: readonly { readonly image: ImageFile }[],
  named: string | undefined,
  label: string,
): Promise<ScratchPlace> {
  const image = disks.find((disk) => disk.image.path !== undefined)?.image.path;
  const folder = named === undefined ? await folderBeside(image, label) : resolve(named);
  await removeOldScratch(folder);
  return { folder, like: image ?? folder };
}

async function folderBeside(image: string | undefined, label: string): Promise<string> {
  if (image !== undefined && (await isFile(image))) return dirname(image);
  throw new ImgstoreError(
    'USAGE',
    `${label}: there is no image file beside which scratch files could be: name a folder with --scratch, on a disk with room for what the guest writes meanwhile`,
  );
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false;
  }
}

async function writeScratch(file: FileHandle, size: number, granularity: number): Promise<void> {
  const write = async (offset: number, bytes: Uint8Array) => {
    for (let done = 0; done < bytes.length; )
      done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
  };
  const writer = new Qcow2Writer({ write }, { virtualSize: size, clusterSize: SCRATCH_CLUSTER });
  await writer.addBitmap({ name: MARK, granularity, auto: false, dirty: [{ offset: size - 1, length: 1 }] });
  await file.truncate(await writer.finish());
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Gives a folder that was just made to somebody, and not what somebody else has put in its place meanwhile. */
async function giveFolder(path: string, { uid, gid }: Owner): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    if ((await folder.stat()).uid === process.getuid?.()) await folder.chown(uid, gid);
  } finally {
    await folder.close();
  }
}

/** Whose files are made, where root makes them for somebody. */
async function ownerOf(path: string): Promise<Owner | undefined> {
  return process.getuid?.() === 0 ? await stat(path) : undefined;
}

function temporaryFolder(): string {
  const folder = tmpdir();
  return Buffer.byteLength(folder) <= MOST_TEMPORARY_BYTES ? folder : '/tmp';
}
