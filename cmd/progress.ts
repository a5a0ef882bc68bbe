import { styleText } from 'node:util';
import cliProgress from 'cli-progress';
import type { Progress } from '../store/index.ts';
import { formatBytes, formatSeconds } from './format.ts';

/** A bar on stderr with bytes, rate and time left. */
export interface ProgressBar {
  readonly update: (progress: Progress) => void;
  readonly stop: () => void;
}

/** Starts a bar; it appears with the first update, so that what is done at once shows none. */
export function startProgress(label: string): ProgressBar {
  const started = performance.now();
  const bar = new cliProgress.SingleBar({
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
    fps: 10,
    format: (options, { progress, value, total }) => {
      const seconds = (performance.now() - started) / 1000;
      const rate = value / Math.max(seconds, 0.001);
      const left = rate > 0 ? formatSeconds((total - value) / rate) : '?';
      const line = cliProgress.Format.BarFormat(progress, { ...options, barsize: 30 });
      const name = styleText('bold', label, { stream: process.stderr });
      return `${name} ${line} ${formatBytes(value)} of ${formatBytes(total)}, ${formatBytes(rate)}/s, ${left} left`;
    },
    barCompleteChar: '=',
    barIncompleteChar: ' ',
  });
  let shown = false;
  return {
    update: ({ done, total }) => {
      if (!shown) bar.start(total, done);
      shown = true;
      bar.setTotal(total);
      bar.update(done);
    },
    stop: () => {
      if (shown) bar.stop();
    },
  };
}
