import { ImgstoreError } from '../../errors/index.ts';
import { GuestAgent, parseQmpAddress } from '../../nbd/index.ts';

/** A guest must not stand still for longer than Windows allows. */
const MOST_FROZEN_MS = 10_000;

/** Who hears that a guest cannot be thawed. */
type OnNotice = (notice: string) => void;

/** What freezes the file systems of a guest, and thaws them. */
export interface Freezer {
  /** After a failure they may be frozen. */
  readonly freeze: () => Promise<unknown>;
  /** Does nothing to a guest that is not frozen, and does not fail: that it could not be done is a notice. */
  readonly thaw: () => Promise<void>;
}

/**
 * Runs `work` while the file systems of a guest are frozen, and thaws them in any case: at the latest after ten seconds, and then the work has failed.
 * @throws ImgstoreError `QMP`, and what `freeze` and `work` throw, when those have ended
 */
export async function holdFrozen(freezer: Freezer, work: () => Promise<void>): Promise<void> {
  const thaw = once(freezer.thaw);
  try {
    await freezer.freeze();
    await withinTime(work(), thaw);
  } finally {
    await thaw();
  }
}

/**
 * As {@link holdFrozen}, by the guest's agent.
 * @param socket of the agent
 * @throws ImgstoreError `QMP`, and what `work` throws, when that has ended
 */
export async function whileFrozen(
  socket: string,
  work: () => Promise<void>,
  onNotice: OnNotice,
): Promise<void> {
  const agent = await connectAgent(socket);
  const thaw = async () => {
    try {
      await agent.thaw();
    } catch {
      await thawAnew(socket, onNotice);
    }
  };
  try {
    await holdFrozen({ freeze: () => agent.freeze(), thaw }, work);
  } finally {
    agent.close();
  }
}

/** Thaws a guest over a new connection: one that broke, or was killed with its process, may have left it frozen. */
export async function thawAnew(socket: string, onNotice: OnNotice): Promise<void> {
  try {
    const agent = await connectAgent(socket);
    await agent.thaw().finally(() => agent.close());
  } catch (error) {
    onNotice(
      `${(error as Error).message}: the file systems of the guest may be frozen: run virsh domfsthaw, or guest-fsfreeze-thaw by the agent`,
    );
  }
}

function connectAgent(socket: string): Promise<GuestAgent> {
  return GuestAgent.connect(parseQmpAddress(socket), { label: socket });
}

async function withinTime(work: Promise<void>, thaw: () => Promise<void>): Promise<void> {
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    void thaw();
  }, MOST_FROZEN_MS);
  try {
    await work;
  } finally {
    clearTimeout(timer);
  }
  if (isLate) {
    const why = `the disks could not be held within ${MOST_FROZEN_MS / 1000} s, and the guest was thawed: try again when it writes less`;
    throw new ImgstoreError('QMP', `the guest's agent: ${why}`);
  }
}

function once(act: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => {
    done ??= act();
    return done;
  };
}
