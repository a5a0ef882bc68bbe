import { RawFile } from '../../block/index.ts';
import { l2TableOffset, type Qcow2Header } from '../../qcow2/index.ts';
import { isSealedWith, type Origin, parseOrigin, TYPE_ORIGIN } from './extension.ts';

/** What an overlay's header says of its backing file, and why that must not be believed, if so. */
export interface BaseClaim {
  readonly base: NonNullable<Origin['base']>;
  /** For people; undefined when it is as sure as that nobody has written to the backing file. */
  readonly doubt: string | undefined;
}

/** An overlay, of which the header was read. */
export interface OverlayFile {
  readonly path: string;
  readonly header: Qcow2Header;
}

const REWRITTEN = 'its header was written anew since';
const EMPTIED = 'what it held may have been moved into that file since';

/**
 * What a header says that its backing file held; undefined when it says nothing.
 *
 * The extension survives nearly all that is done to an image. It holds no more
 * - when somebody else than the store wrote it, or changed it;
 * - when the image was put onto another backing file. In a header that QEMU has written anew since, as for that, the extension stands behind
 *   those that QEMU knows, and no longer before them: so a file that was only given the old name later does not pass;
 * - when what the overlay held was moved into the backing file. `qemu-img commit`, and a monitor's, then lay the tables where those of a new
 *   image are. Where there are snapshots, bitmaps, or a very large L1 table, they empty L2 tables instead (qcow2_make_empty); those that a
 *   snapshot uses too are copied for that, to another place. No guest can do either: a discarded cluster keeps its entry.
 * @param key of the store that is asked; undefined when it has none
 * @throws ImgstoreError `IO`
 */
export async function claimedBase(
  overlay: OverlayFile,
  key: Uint8Array | undefined,
): Promise<BaseClaim | undefined> {
  const { header } = overlay;
  const origin = parseOrigin(header.extensions.list);
  if (origin?.base === undefined) return undefined;
  const doubt = doubtOfHeader(header, origin, origin.base, key) ?? (await doubtOfTables(overlay, origin));
  return { base: origin.base, doubt };
}

function doubtOfHeader(
  header: Qcow2Header,
  origin: Origin,
  base: NonNullable<Origin['base']>,
  key: Uint8Array | undefined,
): string | undefined {
  const { list } = header.extensions;
  if (key === undefined || !isSealedWith(list, key)) return 'this store did not write that';
  if (header.backingFile !== base.file) return 'the image was put onto another backing file since';
  const isAsWritten =
    list.length === 2 && list[0]!.type === TYPE_ORIGIN && header.backingFormat !== undefined;
  if (!isAsWritten || header.version !== 3) return REWRITTEN;
  if (header.snapshotCount > 0) return 'it has internal snapshots';
  const tablesAreInPlace =
    header.l1Offset === origin.l1Offset && header.refcountTableOffset === origin.refcountTableOffset;
  return tablesAreInPlace && !mayBeEmptiedInPlace(header) ? undefined : EMPTIED;
}

/** Whether QEMU would empty the image entry by entry, as its L1 table is too long for the refcounts of a new image. */
function mayBeEmptiedInPlace({ clusterBits, l1Entries, refcountOrder }: Qcow2Header): boolean {
  const clusterSize = 2 ** clusterBits;
  const refcountsOfBlock = (clusterSize * 8) / 2 ** refcountOrder;
  return 3 + Math.ceil((l1Entries * 8) / clusterSize) > refcountsOfBlock;
}

/** A checkout's first L2 table lies right behind the header, and stays there unless it was copied for a snapshot. */
async function doubtOfTables(
  { path, header }: OverlayFile,
  { firstCluster }: Origin,
): Promise<string | undefined> {
  if (firstCluster === undefined) return EMPTIED;
  const file = await RawFile.open(path);
  try {
    const offset = await l2TableOffset(file, header, firstCluster);
    return offset === 2 ** header.clusterBits ? undefined : EMPTIED;
  } finally {
    await file.close();
  }
}
