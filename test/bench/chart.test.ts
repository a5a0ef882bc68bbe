import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { importBench, type Result, row } from './results.ts';

const { drawChart } = await importBench<{ drawChart: (results: readonly Result[]) => string }>('chart.mjs');

const RESULTS: readonly Result[] = [
  {
    job: 'first commit',
    conclusion: '1.50 times as fast as the fastest peer',
    tools: [
      row('imgstore', 2, { bytesPerSecond: 350e6, peakBytes: 90e6, storedBytes: 40e6 }),
      row('borg', 4, { bytesPerSecond: 175e6 }),
      { job: 'first commit', tool: 'restic, mount', isPeer: true, skipped: 'no <fuse> & so on' },
    ],
  },
  { job: 'start-up', tools: [row('imgstore --version', 0.0842)] },
];

function bars(svg: string, kind: string): readonly number[] {
  return [...svg.matchAll(new RegExp(`<rect class="${kind}".*? width="([^"]*)"`, 'g'))].map(([, width]) =>
    Number(width),
  );
}

test('drawChart draws bars as long as the seconds, in each job by its longest', () => {
  const svg = drawChart(RESULTS);
  const [own, startUp] = bars(svg, 'own');
  const [borg] = bars(svg, 'other');
  expect(own! * 2).toBeCloseTo(borg!, 0);
  expect(startUp).toBe(borg);
});

test('drawChart writes the numbers out and says why a tool was left out', () => {
  const svg = drawChart(RESULTS);
  expect(svg).toContain('>2.00 s · 350 MB/s · peak 90 MB · stored 40 MB<');
  expect(svg).toContain('>84 ms<');
  expect(svg).toContain('1.50 times as fast');
  expect(svg).toContain('left out: no &#60;fuse&#62; &#38; so on');
});

test('drawChart has colours for light and dark and is well formed', () => {
  const svg = drawChart(RESULTS);
  expect(svg).toContain('prefers-color-scheme: dark');
  const open = svg.match(/<[a-z][^>]*[^/]>/g) ?? [];
  const close = svg.match(/<\/[a-z]+>/g) ?? [];
  expect(open.length).toBe(close.length);
});

test('bench --from draws the chart of an earlier result without measuring', async () => {
  const folder = await temporaryFolder();
  const from = join(folder, 'results.json');
  const chart = join(folder, 'chart.svg');
  writeFileSync(from, JSON.stringify({ jobs: RESULTS }));
  const bench = fileURLToPath(new URL('../../bench/run.mjs', import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [bench, '--from', from, '--chart', chart], {
    cwd: folder,
    encoding: 'utf8',
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(readFileSync(chart, 'utf8')).toBe(drawChart(RESULTS));
});
