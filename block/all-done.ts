/** Waits for all, then fails with the first failure: nothing may write to a caller's buffer once a call is over. */
export async function allDone(tasks: readonly Promise<void>[]): Promise<void> {
  if (tasks.length === 1) return tasks[0];
  for (const result of await Promise.allSettled(tasks)) {
    if (result.status === 'rejected') throw result.reason;
  }
}
