/**
 * The one layer through which a store changes its files: temporary name, write, fsync, rename, fsync of the folder,
 * each announced at a named point where a test can put a fault.
 *
 * Terms: a *pending file* has all its bytes under a temporary name and gets its real name last; a *lock file* is
 * git's `<path>.lock`; a *point* is the moment before one change.
 *
 * @module
 */
export { makeFolder, makeInFolder } from './folder.ts';
export { LockFile } from './lock-file.ts';
export {
  encodeOwner,
  isGone,
  isLeftBehind,
  type Owner,
  ownerSuffix,
  parseOwner,
  thisProcess,
} from './owner.ts';
export {
  type FileKind,
  PendingFile,
  type PendingFileOptions,
  syncFolder,
  writeWholeFile,
} from './pending-file.ts';
export {
  type FileAction,
  type PointHook,
  type PointName,
  type PointWrite,
  passPoint,
  watchPoints,
} from './points.ts';
export { forgetUnfinished, isUnfinished, removeUnfinished, watchUnfinished } from './temporary.ts';
