import type { BlockSource } from '../../block/index.ts';
import { badImage, unsupported } from '../meta/fault.ts';
import { entryOffset } from '../meta/l2-entry.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';

/** The file that an L1 table lies in. */
export interface L1Host {
  readonly source: BlockSource;
  /** Bytes that the file takes on its disk; undefined when that is not known. */
  readonly storedBytes: number | undefined;
  readonly clusterSize: number;
  /** Its name, for errors. */
  readonly image: string;
}

/** What is read of L2 tables in a few seconds, wherever they lie: fewer are never refused. */
const FEW_TABLES = 2 ** 16;
const FEW_TABLE_BYTES = 512 * 2 ** 20;
/** File systems that compress store tables in less room than they have; none makes it so little. */
const MAX_TABLES_TO_STORED = 16;

/**
 * Fails when an L1 table names more L2 tables than can be: going through it would take time without end, for an image
 * of a few megabytes. Each L2 table is a cluster of its own, so all together fit the file; and where millions of them
 * are said to lie in its holes, nobody wrote them.
 * @param l1 the table. @param what whose it is, for errors.
 * @throws ImgstoreError `BAD_IMAGE` when they do not fit the file, `UNSUPPORTED` when they lie in its holes.
 */
export function checkTableClaims(
  l1: Buffer,
  what: string,
  { source, storedBytes, clusterSize, image }: L1Host,
): void {
  const tables = countTables(l1);
  const bytes = tables * clusterSize;
  if (bytes > source.size) {
    throw badImage(
      image,
      `${what} names ${tables} L2 tables of ${bytes} bytes in all, which a file of ${source.size} bytes cannot hold: it is cut off, or names some of them twice`,
      { field: 'l1 entry', value: tables },
    );
  }
  if (storedBytes === undefined || (tables <= FEW_TABLES && bytes <= FEW_TABLE_BYTES)) return;
  if (bytes > MAX_TABLES_TO_STORED * storedBytes) {
    throw unsupported(
      image,
      `${what} names ${tables} L2 tables of ${bytes} bytes in all, but the file has ${storedBytes} bytes on its disk: they lie in its holes, where nobody wrote them`,
      { field: 'l1 entry', value: tables },
    );
  }
}

function countTables(l1: Buffer): number {
  let tables = 0;
  for (let at = 0; at < l1.length; at += TABLE_ENTRY_BYTES) {
    if (entryOffset(l1.readUInt32BE(at), l1.readUInt32BE(at + 4)) !== 0) tables++;
  }
  return tables;
}
