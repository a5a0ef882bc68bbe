import { type BlockSource, RawFile, readPadded } from '../../block/index.ts';
import { type ImageFormat, topFormat } from '../chain/format.ts';
import { unsupported } from '../meta/fault.ts';
import { geometryOf } from '../meta/geometry.ts';
import { wholeSectors } from '../meta/layout.ts';
import { readHeader } from '../reader/image.ts';
import { walkBitmaps } from './bitmap-walk.ts';
import { ClusterCounts } from './cluster-counts.ts';
import { checkCopied } from './copied-check.ts';
import { type Finding, Findings } from './findings.ts';
import { HostTables } from './host-tables.ts';
import { L1Walk } from './l1-walk.ts';
import { L2Check } from './l2-check.ts';
import { RefcountCompare } from './refcount-compare.ts';
import { References } from './references.ts';
import { walkSnapshots } from './snapshot-walk.ts';
import { WorkLimit } from './work-limit.ts';

/** What counts may take in memory: enough for 10 TiB of clusters of 64 KiB, all in use. */
const MAX_COUNT_BYTES = 160 * 1024 * 1024;
/** Likewise for the two lists of L2 tables. */
const MAX_TABLE_COUNT_BYTES = 24 * 1024 * 1024;
/** QEMU checks no files with more clusters. */
const MAX_HOST_CLUSTERS = 2 ** 31 - 1;

/**
 * - `clean`: nothing is wrong;
 * - `leaks`: room is lost, data is safe;
 * - `corrupt`: the image contradicts itself;
 * - `failed`: a part could not be judged.
 */
export type Verdict = 'clean' | 'leaks' | 'corrupt' | 'failed';

/** What a check found, named as `qemu-img check --output=json` names it. */
export interface CheckReport {
  readonly filename: string;
  readonly format: 'qcow2';
  readonly verdict: Verdict;
  readonly checkErrors: number;
  readonly corruptions: number;
  readonly leaks: number;
  /** Bytes from the start of the file to the end of the last cluster in use. */
  readonly imageEndOffset: number;
  /** Guest clusters of the disk. */
  readonly totalClusters: number;
  /** Those of them that have a place in a file. */
  readonly allocatedClusters: number;
  /** Those of them that do not follow the one before. */
  readonly fragmentedClusters: number;
  readonly compressedClusters: number;
  /** What is wrong, the first hundred. */
  readonly findings: readonly Finding[];
  /** How many more there are. */
  readonly omittedFindings: number;
}

/**
 * Checks the metadata of the image at `path`, that file alone: what it stands on is not opened. Nothing is changed.
 * @throws ImgstoreError `UNSUPPORTED` with `data.format` `raw` for a raw disk, which has nothing to check; `BAD_IMAGE`,
 * `UNSUPPORTED` or `IO` when the header, the snapshot table or the bitmap directory cannot be read.
 */
export async function checkImage(
  path: string,
  options: { readonly format?: ImageFormat | undefined } = {},
): Promise<CheckReport> {
  const file = await RawFile.open(path);
  try {
    const { format } = await topFormat(file, path, options.format);
    if (format === 'raw') {
      throw unsupported(path, 'is a raw disk, which has no metadata to check', { format });
    }
    return await checkSource(file, path);
  } finally {
    await file.close();
  }
}

/** Checks the qcow2 image in `host`. @param name the image's name, for errors. @throws as {@link checkImage}. */
export async function checkSource(host: BlockSource, name: string): Promise<CheckReport> {
  const header = await readHeader(host, name);
  const geometry = geometryOf(header.clusterBits, header.extendedL2);
  const { clusterSize } = geometry;
  if (Math.ceil(host.size / clusterSize) > MAX_HOST_CLUSTERS) {
    throw unsupported(
      name,
      `has more than ${MAX_HOST_CLUSTERS} clusters of ${clusterSize} bytes in its file`,
    );
  }
  const full = () => unsupported(name, 'refers to more clusters of its file than imgstore can count');
  const counts = new ClusterCounts(MAX_COUNT_BYTES, full);
  const findings = new Findings();
  const tables = new HostTables(host);
  // QEMU takes every file for whole sectors.
  const hostSize = wholeSectors(host.size);
  const references = new References(counts, findings, geometry, hostSize, header.refcountOrder);
  const limit = new WorkLimit(name);
  const parts = { image: name, header, geometry, tables, references, findings, limit };

  references.add(0, clusterSize, () => 'the header');
  const walk = new L1Walk(
    tables,
    geometry,
    references,
    findings,
    () => new ClusterCounts(MAX_TABLE_COUNT_BYTES, full),
  );
  await walk.readL1({
    offset: header.l1Offset,
    entries: header.l1Entries,
    active: true,
    name: 'the L1 table',
  });
  await walkSnapshots(parts, walk);
  const l2Check = new L2Check(geometry, header.dataFile !== undefined, references, findings);
  await walk.walkTables(l2Check);

  const table = Buffer.alloc(header.refcountTableClusters * clusterSize);
  references.add(header.refcountTableOffset, table.length, () => 'the refcount table');
  await readPadded(host, header.refcountTableOffset, table);
  const { cryptoHeader } = header.extensions;
  if (cryptoHeader !== undefined) {
    references.add(Number(cryptoHeader.offset), Number(cryptoHeader.length), () => 'the encryption header');
  }
  await walkBitmaps(parts);

  const compare = new RefcountCompare(tables, findings, geometry, header, table);
  compare.checkTable(references, counts);
  await compare.compare(counts, references.clusters);
  await checkCopied(header, geometry, tables, findings, walk, counts, (cluster) => compare.outside(cluster));

  const { allocated, fragmented, compressed } = l2Check.allocation;
  return {
    filename: name,
    format: 'qcow2',
    verdict: verdictOf(findings),
    checkErrors: findings.count('error'),
    corruptions: findings.count('corruption'),
    leaks: findings.count('leak'),
    imageEndOffset: (compare.highest + 1) * clusterSize,
    totalClusters: Math.ceil(header.virtualSize / clusterSize),
    allocatedClusters: allocated,
    fragmentedClusters: fragmented,
    compressedClusters: compressed,
    findings: findings.list,
    omittedFindings: findings.omitted,
  };
}

function verdictOf(findings: Findings): Verdict {
  if (findings.count('error') > 0) return 'failed';
  if (findings.count('corruption') > 0) return 'corrupt';
  return findings.count('leak') > 0 ? 'leaks' : 'clean';
}
