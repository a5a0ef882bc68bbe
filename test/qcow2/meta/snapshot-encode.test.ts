import { describe, expect, it } from 'vitest';
import { parseSnapshot } from '../../../qcow2/meta/snapshot.ts';
import { encodeSnapshot } from '../../../qcow2/meta/snapshot-encode.ts';

describe('encodeSnapshot', () => {
  it('is read back by the parser, and followed at once by the next', () => {
    const first = {
      id: '1',
      name: 'before the upgrade – ä',
      date: new Date('2026-01-02T03:04:05.678Z'),
      l1Offset: 5 * 65536,
      l1Entries: 7,
      diskSize: 2 ** 40 + 512,
    };
    const bytes = encodeSnapshot(first);
    const next = encodeSnapshot({ ...first, id: '22', name: '', date: new Date(0) });
    const parsed = parseSnapshot(Buffer.concat([bytes, next]), 0, 'x');
    expect(parsed).toEqual({
      length: bytes.length,
      snapshot: {
        id: '1',
        name: first.name,
        l1Offset: first.l1Offset,
        l1Entries: 7,
        dateSeconds: first.date.getTime() / 1000 - 0.678,
        dateNanoseconds: 678_000_000,
        vmClock: 0n,
        vmStateSize: 0,
        diskSize: first.diskSize,
        instructions: undefined,
      },
    });
    expect(bytes.length % 8).toBe(0);
    expect(parseSnapshot(next, 1, 'x').snapshot).toMatchObject({ id: '22', name: '', dateSeconds: 0 });
  });
});
