/**
 * The store: a git repository in SHA-256 format whose commits are versions of disks.
 *
 * Terms: a *version* is a commit whose tree holds `image.json` and the cluster maps of its disks; an *image* is a branch, its last commit the image's last
 * version; a *revision* is what a user writes to name a version (git's syntax); the *stat cache* remembers which version a file holds; a *transaction* is the
 * new objects of one operation, visible all at once; a *monitor* is how a caller watches and stops a long operation.
 *
 * @module
 */
export { nameTask } from '../files/index.ts';
export { isoDate, type Person, subject } from '../objects/index.ts';
export {
  type Backing,
  type CheckoutRequest,
  type CheckoutResult,
  checkoutVersion,
} from './checkout/checkout.ts';
export { type CheckoutAllResult, checkoutAll } from './checkout/checkout-all.ts';
export type { DamagedRange } from './checkout/damage.ts';
export { type HydrateRequest, type HydrateResult, hydrateOverlay } from './checkout/hydrate/hydrate.ts';
export {
  checkoutInPlace,
  type InPlaceRequest,
  type InPlaceResult,
} from './checkout/in-place/checkout-in-place.ts';
export { checkoutLazily, type LazyCheckoutRequest } from './checkout/lazy/checkout-lazily.ts';
export { type RebaseRequest, type RebaseResult, rebaseOverlay } from './checkout/rebase/rebase.ts';
export { checkoutSnapshots, type SnapshotsResult } from './checkout/snapshots.ts';
export type { Attachment } from './commit/attachments.ts';
export { type CommitRequest, type CommitResult, commitVersion, type DiskToStore } from './commit/commit.ts';
export { type DiskDetails, describeDisk } from './commit/describe.ts';
export type { DiskFormat, OpenDiskOptions } from './commit/disk.ts';
export type { StoredDisk } from './commit/store-disk.ts';
export { type CompareRequest, type Comparison, compare } from './compare/compare.ts';
export { diffVersions, type RangeChange } from './compare/diff.ts';
export { type MappedRange, mapDisk } from './compare/map.ts';
export { STORE_VERSION } from './config/format.ts';
export { parseLockTimeout } from './config/lock-timeout.ts';
export { commitDomain, type DomainCommitRequest } from './domain/commit.ts';
export { type ForgetResult, forgetVersions, type MovedRef } from './forget/forget.ts';
export type { ForgetRequest, ForgottenVersion } from './forget/plan.ts';
export type { KeepPolicy } from './forget/policy.ts';
export { checkStore, type FsckRequest } from './fsck/fsck.ts';
export { type RepairReport, type RepairRequest, repairStore } from './fsck/repair/repair.ts';
export type {
  ByteRange,
  DamagedFile,
  DamagedObject,
  FsckReport,
  MissingObject,
  Touched,
} from './fsck/report.ts';
export { collectGarbage, type GcRequest, type GcResult, type HeldBack } from './gc/gc.ts';
export { type ListedImage, listImages } from './history/images.ts';
export { type LoggedVersion, type LogStart, logVersions } from './history/log.ts';
export { type ImportRequest, importImage } from './import/import.ts';
export type { ImportedVersion } from './import/imported-version.ts';
export { type InitOptions, initStore } from './init.ts';
export { commitMachine, type LiveCommitRequest } from './live/commit.ts';
export type { NamedNode } from './live/find-disks.ts';
export { STORE_FOLDER } from './location.ts';
export { needsPacking } from './pack/auto-pack.ts';
export { type PackRequest, type PackResult, packStore } from './pack/pack-store.ts';
export type { Monitor, Progress } from './progress.ts';
export type { DamagedRef } from './refs/damage.ts';
export { createBranch, createTag, deleteRef, renameBranch, type TagOptions } from './refs/edit.ts';
export { type ListedTag, listTags } from './refs/list-tags.ts';
export { BRANCHES, branchFromFile, type RefKind, shortRefName, TAGS } from './refs/name.ts';
export type { Ref } from './refs/refs.ts';
export { BegunPush } from './remote/begun-push.ts';
export type { BucketGc } from './remote/bucket/gc.ts';
export type { RemoteDamage, RemoteVerdict } from './remote/bucket/verify.ts';
export { type CloneRequest, type CloneResult, cloneStore } from './remote/clone.ts';
export {
  type FetchRequest,
  type FetchResult,
  fetchRemote,
  type TagChoice,
} from './remote/fetch.ts';
export { type ListedRemote, listRemoteRefs } from './remote/list-remote.ts';
export { probeRemote } from './remote/probe.ts';
export { type PullRequest, type PullResult, pullBranches } from './remote/pull.ts';
export { type PushRequest, type PushResult, pushRefs } from './remote/push.ts';
export type { ChangeKind, RefChange } from './remote/ref-change.ts';
export type { Remote, RemoteSettings } from './remote/remote.ts';
export { addRemote, findRemote, listRemotes, remoteOfUrl, removeRemote } from './remote/remotes.ts';
export { collectRemote, type VerifyRequest, verifyRemote } from './remote/upkeep.ts';
export { withoutCredentials } from './remote/url.ts';
export { type Resolved, resolveCommit, resolveRevision } from './revision/resolve.ts';
export { startServerEarly } from './serve/ensure-server.ts';
export { type Mount, type MountRequest, mountVersion } from './serve/mount.ts';
export { type ServedStore, type ServeRequest, serveStore } from './serve/serve.ts';
export type { SessionCommit } from './serve/session/commit-session.ts';
export {
  commitSessionOf,
  discardSession,
  type ListedSessions,
  listSessions,
  type SessionsPlace,
} from './serve/session/manage.ts';
export type { SessionState } from './serve/session/session-state.ts';
export type { StartingServer } from './serve/starting-server.ts';
export { type ImageStats, measureStore, type Savings, type StoreStats } from './stats.ts';
export { DEFAULT_CLUSTER_SIZE, Store, type StoreOptions } from './store.ts';
export { readAttachment } from './version/attachment.ts';
export { DiskSource } from './version/disk-source.ts';
export { summarizeVersion, type VersionSummary } from './version/summary.ts';
export { findDisk, readVersion, type Version, type VersionDisk } from './version/version.ts';
