import { ExitCode } from './exit-code.ts';

const controller = new AbortController();

/** Aborted by the first Ctrl-C or SIGTERM: operations then stop at the next step and clean up. */
export const interruption: AbortSignal = controller.signal;

/** How long an operation has to stop by itself; an exit handler removes unfinished files in any case. */
const GRACE_MS = 2000;

/**
 * Handles signals until the returned function is called. A second signal ends the process at once.
 *
 * Only for what has something to clean up: Node runs a handler between two steps of the program, and a walk of a large history or map is one step.
 */
export function stopOnSignals(): () => void {
  const onSignal = () => {
    if (interruption.aborted) process.exit(ExitCode.interrupted);
    controller.abort();
    setTimeout(() => process.exit(ExitCode.interrupted), GRACE_MS).unref();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return () => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
}
