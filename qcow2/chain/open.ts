import { dirname } from 'node:path';
import { type BlockSource, RawFile } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';
import { keyMissing } from '../crypto/open-cipher.ts';
import { badImage } from '../meta/fault.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { Qcow2Image, readHeader } from '../reader/image.ts';
import { type ImageDetails, type ImageFacts, imageDetails, imageFacts } from './facts.ts';
import { backingFormat, type FoundFormat, type ImageFormat, topFormat } from './format.ts';
import type { OpenOptions, StandIn } from './options.ts';
import { FilePolicy, type FileRole } from './policy.ts';
import { type Layer, type OpenLayer, stack } from './stack.ts';

/** Deeper chains are a mistake or an attack: each layer costs two file handles at most. */
const MAX_LAYERS = 200;

/** An image that is open with all that it stands on. */
export interface OpenedImage {
  /** The whole chain as one disk; closing it closes every file. */
  readonly source: BlockSource;
  /** The file named, for its snapshots and bitmaps; it is {@link source} itself, undefined for a raw disk. */
  readonly image: Qcow2Image | undefined;
  readonly format: ImageFormat;
  /** What is read in the place of a backing file that could not be opened, below all layers. */
  readonly standIn: BlockSource | undefined;
  /** Every file of the chain, top first, a layer's data file after its image: to lock and to tell changes by. */
  readonly files: readonly RawFile[];
  /** Top first. */
  readonly layers: readonly Layer[];
  /** Of the file named. */
  readonly facts: ImageFacts;
}

/**
 * Opens the image at `path` with its backing and data files.
 *
 * A relative name in an image starts at that image's folder. Names that lead outside of the allowed folders and
 * names of protocols are refused; loops too.
 * @throws ImgstoreError `NOT_FOUND`, `IO`, `BAD_IMAGE`, `UNSUPPORTED`, `FORBIDDEN`, `WRONG_KEY` or `USAGE`; each
 * message starts with the path of the file that it is about. Nothing stays open.
 */
export async function openImage(path: string, options: OpenOptions = {}): Promise<OpenedImage> {
  const walk = new ChainWalk();
  try {
    return await walk.open(path, options);
  } catch (error) {
    await walk.close();
    throw error;
  }
}

/**
 * Facts about the image at `path`, from that file alone: an encrypted image, or one whose backing file is missing
 * or forbidden, has them too.
 * @throws ImgstoreError as {@link openImage} does for the file itself.
 */
export async function describeImage(
  path: string,
  options: Pick<OpenOptions, 'format'> = {},
): Promise<ImageDetails> {
  const file = await RawFile.open(path);
  try {
    const { format } = await topFormat(file, path, options.format);
    return await imageDetails(file, path, format === 'qcow2' ? await readHeader(file, path) : undefined);
  } finally {
    await file.close();
  }
}

/** Opens a chain from the top down, then builds its disk from the bottom up. */
class ChainWalk {
  readonly #files: RawFile[] = [];
  /** `device:inode` of every file, which no file may have twice. */
  readonly #seen = new Set<string>();

  async open(path: string, options: OpenOptions): Promise<OpenedImage> {
    const top = await this.#openFile(path, path);
    const found = await topFormat(top, path, options.format);
    let policy: FilePolicy | undefined;
    const policyOnce = async () => {
      policy ??= await FilePolicy.of(options.allow ?? [dirname(path)]);
      return policy;
    };
    const layers: OpenLayer[] = [];
    let bottom: BlockSource | undefined;
    for (let file = top, name = path, guess = found; ; ) {
      const { format } = guess;
      if (layers.length === MAX_LAYERS) {
        throw badImage(
          path,
          `its chain of backing files is deeper than ${MAX_LAYERS}: flatten it with qemu-img convert`,
        );
      }
      const header = format === 'qcow2' ? await readHeader(file, name) : undefined;
      refuseNamesOfGuess(guess, header, name);
      const key = await keyFor(header, name, options.key);
      const dataFile = await this.#openDataFile(header, name, policyOnce);
      const backing = header?.backingFile;
      layers.push({ name, path: file.path, format, backing, file, header, dataFile, key });
      if (header === undefined || backing === undefined) break;
      const owner = name;
      const next = await this.#openBacking(header, backing, owner, policyOnce, options.standIn);
      if (!(next instanceof RawFile)) {
        bottom = next;
        break;
      }
      file = next;
      name = file.path;
      guess = await backingFormat(file, header.backingFormat, owner);
    }
    if (options.snapshot !== undefined && layers[0]?.header === undefined) {
      throw new ImgstoreError('USAGE', `${path}: is a raw disk, which has no internal snapshots`, { path });
    }
    const disks = await stack(layers, bottom, options);
    const source = disks[0]!;
    return {
      source,
      image: source instanceof Qcow2Image ? source : undefined,
      format: found.format,
      standIn: bottom,
      files: this.#files,
      layers: layers.map(({ path: layerPath, format, backing, file, dataFile }, i) => ({
        path: layerPath,
        format,
        backing,
        files: dataFile === undefined ? [file] : [file, dataFile],
        source: disks[i]!,
      })),
      facts: await imageFacts(top, path, layers[0]?.header),
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map((file) => file.close()));
  }

  /** The backing file, or what stands in for it. */
  async #openBacking(
    header: Qcow2Header,
    backing: string,
    path: string,
    policy: () => Promise<FilePolicy>,
    standIn: StandIn | undefined,
  ): Promise<RawFile | BlockSource> {
    try {
      return await this.#openNamed(await policy(), backing, path, 'backing file');
    } catch (error) {
      if (standIn === undefined) throw error;
      return standIn({ path, header }, error);
    }
  }

  async #openDataFile(
    header: Qcow2Header | undefined,
    owner: string,
    policy: () => Promise<FilePolicy>,
  ): Promise<RawFile | undefined> {
    if (header?.dataFile === undefined) return undefined;
    if (header.dataFile.name === undefined) {
      throw badImage(owner, 'keeps its data in an external data file but does not name it');
    }
    return this.#openNamed(await policy(), header.dataFile.name, owner, 'data file');
  }

  /** Opens a file that the image `owner` names. */
  async #openNamed(policy: FilePolicy, name: string, owner: string, role: FileRole): Promise<RawFile> {
    const path = await policy.resolve(name, owner, role);
    const file = await this.#openFile(path, owner);
    // The path has no links in it; one that was put there since would lead around the policy.
    if (file.path === path) return file;
    throw new ImgstoreError('FORBIDDEN', `${path}: was replaced by a link while it was opened`, { path });
  }

  async #openFile(path: string, owner: string): Promise<RawFile> {
    const file = await RawFile.open(path);
    this.#files.push(file);
    const { inode } = await file.identity();
    if (this.#seen.has(inode)) {
      throw badImage(owner, `its chain of files comes back to ${JSON.stringify(file.path)}: it is a loop`, {
        name: file.path,
      });
    }
    this.#seen.add(inode);
    return file;
  }
}

/** A guest can make its raw disk look like a qcow2; a guess must then not open files by names from inside. */
function refuseNamesOfGuess(found: FoundFormat, header: Qcow2Header | undefined, path: string): void {
  if (!found.guessed || (header?.backingFile === undefined && header?.dataFile === undefined)) return;
  throw new ImgstoreError(
    'FORBIDDEN',
    `${path}: looks like qcow2 by content only and names other files: if it is qcow2, pass --format qcow2`,
    { path, name: header.backingFile ?? header.dataFile?.name },
  );
}

/** The key of an image. @throws ImgstoreError `UNSUPPORTED` when it needs one and there is none. */
async function keyFor(
  header: Qcow2Header | undefined,
  path: string,
  key: OpenOptions['key'],
): Promise<Uint8Array | undefined> {
  if (header?.encryption === undefined) return undefined;
  const found = typeof key === 'function' ? await key(path, header.encryption) : key;
  if (found === undefined) throw keyMissing(header.encryption, path);
  return found;
}
