/**
 * The one layer through which a store changes its files: temporary name, write, fsync, rename, fsync of the folder,
 * each announced at a named point where a test can put a fault.
 *
 * Terms: a *pending file* has all its bytes under a temporary name and gets its real name last; a *lock file* is
 * git's `<path>.lock`; an *owner* is the process that has made a file;
 * a *point* is the moment before one change.
 *
 * @module
 */
export { makeFolder, makeInFolder } from './folder.ts';
export { removeLeftBehindIn } from './left-behind.ts';
export { LockFile } from './lock-file.ts';
export { type LockHolder, nameTask, parseLockText } from './lock-text.ts';
export { makeMissingFolders } from './missing-folders.ts';
export { namesIn } from './names-in.ts';
export {
  encodeOwner,
  isGone,
  isLeftBehind,
  type Owner,
  ownerSuffix,
  parseOwner,
  randomOwnerSuffix,
  thisProcess,
} from './owner.ts';
export { pause } from './pause.ts';
export {
  type FileKind,
  PendingFile,
  type PendingFileOptions,
  replaceFile,
  syncFile,
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
export type { FileRules } from './rules.ts';
export { type Sharing, sharedMode, shareFile, shareFolder, sharePath } from './sharing.ts';
export { forgetUnfinished, removeUnfinished, watchUnfinished } from './temporary.ts';
