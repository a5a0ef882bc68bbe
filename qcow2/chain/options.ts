import type { BlockSource } from '../../block/index.ts';
import type { Qcow2Header } from '../meta/header.ts';
import type { ImageFormat } from './format.ts';

/** The password of encrypted images: its bytes, or who has it for the file at a path. */
export type ImageKey =
  | Uint8Array
  | ((path: string, encryption: Encryption) => Promise<Uint8Array | undefined>);

/** How an image is encrypted. The old `aes` cannot tell a wrong key. */
export type Encryption = 'aes' | 'luks';

/** How to open an image. */
export interface OpenOptions {
  /** The format of the file named, when the user says it; content and name decide otherwise. */
  readonly format?: ImageFormat | undefined;
  /** Folders from which backing and data files may come, instead of the image's own; each with all below it. */
  readonly allow?: readonly string[] | undefined;
  /** Id or name of an internal snapshot of the file named, to read its disk as it was then. */
  readonly snapshot?: string | undefined;
  /** The password of encrypted images. */
  readonly key?: ImageKey | undefined;
  /** Seconds that making keys from passwords may take for the whole chain; 10 if not said. */
  readonly keySeconds?: number | undefined;
  /** Who may have another disk in the place of a backing file that cannot be opened. */
  readonly standIn?: StandIn | undefined;
}

/**
 * A disk to read in the place of an image's backing file, where the chain then ends; throws, most often the failure, when there is none.
 * @param image path and header of the image that names the file
 * @param failure why that cannot be opened
 */
export type StandIn = (
  image: { readonly path: string; readonly header: Qcow2Header },
  failure: unknown,
) => Promise<BlockSource>;
