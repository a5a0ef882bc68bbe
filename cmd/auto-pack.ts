import { spawn } from 'node:child_process';
import { setPriority } from 'node:os';
import { needsPacking, type Store } from '../store/index.ts';

/** As `nice` without arguments. */
const BACKGROUND_PRIORITY = 10;

/**
 * Starts `imgstore pack` behind the caller's back when the store needs it, and does not wait. When one is running already, the new one finds its lock and ends,
 * whatever the config says about waiting.
 * Returns true when it was started.
 */
export function startPackIfNeeded(store: Store): boolean {
  const program = process.argv[1];
  if (program === undefined || !needsPacking(store)) return false;
  const args = [program, '--store', store.folder, '--quiet', '--lock-timeout', '0', 'pack'];
  const child = spawn(process.execPath, args, { detached: true, stdio: 'ignore' });
  // Without a process to spare the store is packed another time.
  child.on('error', () => {});
  try {
    if (child.pid !== undefined) setPriority(child.pid, BACKGROUND_PRIORITY);
  } catch {
    // It has ended already, or the system has no priorities: then it runs as it is.
  }
  child.unref();
  return true;
}
