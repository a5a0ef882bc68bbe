import { describe, expect, it } from 'vitest';
import type { BlockSource } from '../../../block/index.ts';
import { DataClaims } from '../../../qcow2/reader/data-claims.ts';
import { checkTableClaims } from '../../../qcow2/reader/table-claims.ts';

const CLUSTER = 65536;

/** An L1 table with `tables` entries among others that are empty, in a file of a size. */
function check(tables: number, fileClusters: number, storedBytes?: number): void {
  const l1 = Buffer.alloc(2 * tables * 8);
  for (let i = 0; i < tables; i++) l1.writeBigUInt64BE((1n << 63n) | BigInt((i + 1) * CLUSTER), 16 * i);
  const source = { size: fileClusters * CLUSTER } as BlockSource;
  checkTableClaims(l1, 'the L1 table', { source, storedBytes, clusterSize: CLUSTER, image: 'x.qcow2' });
}

describe('checkTableClaims', () => {
  it('accepts as many L2 tables as the file has clusters, and no more', () => {
    check(0, 0);
    check(100, 100);
    expect(() => check(101, 100)).toThrow(
      'x.qcow2: the L1 table names 101 L2 tables of 6619136 bytes in all, which a file of 6553600 bytes cannot hold: it is cut off, or names some of them twice',
    );
  });

  it('accepts few tables in holes, and many where the file takes room for them or does not tell', () => {
    const few = (512 * 2 ** 20) / CLUSTER;
    check(few, few, 1);
    check(few + 1, few + 1);
    check(few + 16, few + 16, ((few + 16) * CLUSTER) / 16);
    expect(() => check(few + 1, few + 1, 2 ** 20)).toThrow('they lie in its holes');
  });
});

describe('DataClaims', () => {
  it('accepts as much data as there is room for, and no more', () => {
    const claims = new DataClaims(2 * CLUSTER, 'x.qcow2');
    claims.add(CLUSTER);
    claims.add(CLUSTER);
    expect(() => claims.add(1)).toThrow('x.qcow2: its tables give more data than the 131072 bytes');
  });
});
