import type { ObjectId } from '../../objects/index.ts';
import type { NewObjects } from '../objects/new-objects.ts';
import type { Monitor } from '../progress.ts';
import type { Ref } from '../refs/refs.ts';

/** Refs of a remote: full names, without those of imgstore itself and those whose names git forbids. */
export interface RemoteRefs {
  readonly refs: readonly Ref[];
  /** The branch that its HEAD names, by its full name. */
  readonly head?: string | undefined;
  /** What annotated tags lead to, by the tags' full names, where the remote says so. */
  readonly peeled?: ReadonlyMap<string, ObjectId> | undefined;
}

/** A move of a remote's ref, done only when the ref is where `before` says ({@link NULL_ID}: not there). */
export interface RemoteUpdate {
  readonly name: string;
  readonly before: ObjectId;
  /** {@link NULL_ID} removes the ref. */
  readonly after: ObjectId;
}

/** What became of it. */
export interface RemoteUpdateResult {
  readonly name: string;
  /** Why it was not done; undefined when it was. */
  readonly fault?: string | undefined;
  /** The ref was not where `before` says: somebody else has moved it. */
  readonly moved?: boolean | undefined;
}

/** What a transfer has cost. */
export interface TransferSummary {
  /** Number of objects that went over. */
  readonly objects: number;
  /** Bytes over the network. */
  readonly bytes: number;
  /** Requests to a server, where they are what is paid for. */
  readonly requests?: number | undefined;
}

/** What a push has cost, and what became of each move, in order. */
export interface PushSummary extends TransferSummary {
  readonly results: readonly RemoteUpdateResult[];
}

/** Progress is in bytes over the network. */
export type TransferOptions = Monitor;

/** The way to one remote. Errors are `REMOTE_UNREACHABLE`, `REMOTE_DENIED`, `REMOTE_FAILED`, `UNSUPPORTED`, `DAMAGED`, `INTERRUPTED`, `IO`. */
export interface RemoteTransport {
  /** The URL, without credentials. */
  readonly where: string;
  /** Whether going there may ask for a password at the terminal. */
  readonly mayPrompt?: boolean;
  /** Its refs as they are now. */
  refs(options?: TransferOptions): Promise<RemoteRefs>;
  /**
   * Brings all that the ids lead to and the store lacks into the store, checked, or nothing of it; moves no refs. The caller holds an announcement against
   * `gc`.
   */
  fetch(wanted: readonly ObjectId[], options?: TransferOptions): Promise<TransferSummary>;
  /** Takes objects that are being stored and will be pushed, after {@link RemoteTransport.refs}: to send them meanwhile. Not there where that brings nothing. */
  readonly newObjects?: NewObjects;
  /** Sends what the remote lacks, then moves refs; atomically where the remote can. */
  push(updates: readonly RemoteUpdate[], options?: TransferOptions): Promise<PushSummary>;
  close(): Promise<void>;
}
