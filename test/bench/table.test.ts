import { expect, test } from 'vitest';
import { importBench, type Result, type Row, row } from './results.ts';

interface Sample {
  readonly seconds: number;
  readonly peakBytes?: number;
  readonly storedBytes?: number;
  readonly startSeconds?: number;
}
const { rowOf, resultOf, tableLines } = await importBench<{
  rowOf: (job: object, contender: object, samples: readonly Sample[]) => Row;
  resultOf: (job: string, rows: readonly Row[], conclude?: (rows: readonly Row[]) => string) => Result;
  tableLines: (result: Result) => readonly string[];
}>('table.mjs');

test('rowOf takes medians of times, the highest peak and the last stored size', () => {
  const samples = [
    { seconds: 9, peakBytes: 5e6, storedBytes: 1 },
    { seconds: 2, peakBytes: 8e6, storedBytes: 2 },
    { seconds: 4, peakBytes: 6e6, storedBytes: 3 },
  ];
  expect(rowOf({ name: 'a', bytes: () => 8e6 }, { name: 'x', isPeer: true }, samples)).toMatchObject({
    job: 'a',
    tool: 'x',
    isPeer: true,
    seconds: 4,
    bytesPerSecond: 2e6,
    peakBytes: 8e6,
    storedBytes: 3,
  });
});

test('rowOf takes the start-up off the cost of a cluster when it was measured', () => {
  const samples = [{ seconds: 1.1, startSeconds: 0.1 }];
  const { microsecondsPerCluster } = rowOf({ name: 'a', clusters: 10_000 }, { name: 'x' }, samples);
  expect(microsecondsPerCluster).toBeCloseTo(100);
});

test('resultOf compares imgstore with the fastest peer, not with what is a limit or was left out', () => {
  const rows = [
    row('imgstore', 2),
    row('(the plain file)', 0.1, { isPeer: false }),
    row('borg', 3),
    row('restic', 5),
    { job: 'first commit', tool: 'casync', isPeer: true, skipped: 'no /dev/fuse' },
  ];
  expect(resultOf('first commit', rows)).toMatchObject({
    ratioToBestPeer: 1.5,
    conclusion: '1.50 times as fast as the fastest peer',
  });
});

test('resultOf makes no comparison when every peer was left out', () => {
  const rows = [row('imgstore', 2), { job: 'first commit', tool: 'borg', isPeer: true, skipped: 'no FUSE' }];
  expect(resultOf('first commit', rows)).toMatchObject({
    ratioToBestPeer: undefined,
    conclusion: undefined,
  });
});

test('resultOf concludes from what was measured when the job has a conclusion of its own', () => {
  const rows = [row('imgstore', 2), { job: 'first commit', tool: 'borg', isPeer: true, skipped: 'no FUSE' }];
  const conclude = (measured: readonly Row[]) => measured.map(({ tool }) => tool).join();
  expect(resultOf('first commit', rows, conclude).conclusion).toBe('imgstore');
});

test('tableLines writes a line for each tool and says why one was left out', () => {
  const rows = [
    row('imgstore', 0.5, { bytesPerSecond: 200e6, peakBytes: 90e6, storedBytes: 40e6 }),
    { job: 'first commit', tool: 'borg', isPeer: true, skipped: 'no /dev/fuse' },
  ];
  expect(tableLines(resultOf('first commit', rows))).toEqual([
    'first commit                          seconds       MB/s    peak MB  stored MB',
    '  imgstore                              0.500        200         90         40',
    '  borg                                left out: no /dev/fuse',
    '',
  ]);
});

test('tableLines has a column for the cost of a cluster when it was measured', () => {
  const lines = tableLines(
    resultOf('cat', [row('imgstore, 10000 objects', 12, { microsecondsPerCluster: 65.25 })]),
  );
  expect(lines[0]).toMatch(/stored MB {1}µs\/cluster$/);
  expect(lines[1]).toMatch(/12\.00 +- +- +- +65\.3$/);
});
