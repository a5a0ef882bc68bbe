import { fileURLToPath, pathToFileURL } from 'node:url';

/** One tool in one job, as the bench keeps it. */
export interface Row {
  readonly job: string;
  readonly tool: string;
  readonly isPeer: boolean;
  readonly seconds?: number;
  readonly bytesPerSecond?: number;
  readonly peakBytes?: number;
  readonly storedBytes?: number;
  readonly microsecondsPerCluster?: number;
  readonly skipped?: string;
}

/** One job. */
export interface Result {
  readonly job: string;
  readonly conclusion?: string;
  readonly ratioToBestPeer?: number;
  readonly tools: readonly Row[];
}

/** A row with a job's name and what matters to a test. */
export function row(tool: string, seconds: number, more: Partial<Row> = {}): Row {
  return { job: 'first commit', tool, isPeer: !tool.startsWith('imgstore'), seconds, ...more };
}

/** What a file of the bench exports. */
export async function importBench<T>(name: string): Promise<T> {
  const path = fileURLToPath(new URL(`../../bench/compare/${name}`, import.meta.url));
  return (await import(pathToFileURL(path).href)) as T;
}
