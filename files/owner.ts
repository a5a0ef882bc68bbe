import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { systemCode } from '../errors/index.ts';

/**
 * The process that has made a lock, an announcement or a temporary file, so that others can tell whether it still runs.
 *
 * Numbers of processes come again, after a restart of the machine and in every container: `place` and `started` tell two processes of
 * one number apart.
 */
export interface Owner {
  readonly pid: number;
  readonly host: string;
  /** The running system, its space of process numbers, and a digest of the machine's id: `<boot id>.<pid namespace>.<machine>`; `-` for what the system does not say. */
  readonly place: string;
  /** Clock ticks from the start of the system to that of the process (proc(5), field 22 of `stat`); `-` where the system does not say. */
  readonly started: string;
}

/** What a system does not say. */
const UNKNOWN = '-';

/** `starttime` counted from behind the name of the program, which may have spaces and brackets in it: field 22, and two are before. */
const START_FIELD = 22 - 3;
/** Field 3. */
const STATE_FIELD = 0;
const ZOMBIE = 'Z';

const TEXT_PATTERN = /^([1-9]\d{0,9}) (\S+) (\S+) (\S+)\n$/;

/** Hex digits that stand for a host and place in names of files. */
const PLACE_DIGITS = 8;

/** Of a name that two files must not share. */
const RANDOM_BYTES = 6;

/** Among refs and their logs temporary names end as locks do, which git and all others that list them pass over. */
const NAME_PATTERN = /_([0-9a-f]{8})-([1-9]\d{0,9})-(\d+|-)_[0-9a-f]+(?:\.lock)?$/;

let own: Owner | undefined;

/** This process. */
export function thisProcess(): Owner {
  own ??= { pid: process.pid, host: hostname(), place: ownPlace(), started: startOf(process.pid) ?? UNKNOWN };
  return own;
}

/** One line, for the content of a lock. */
export function encodeOwner({ pid, host, place, started }: Owner): string {
  return `${pid} ${host} ${place} ${started}\n`;
}

/** The owner that {@link encodeOwner} has written; undefined for anything else. */
export function parseOwner(text: string): Owner | undefined {
  const [, pid, host, place, started] = TEXT_PATTERN.exec(text) ?? [];
  return pid === undefined ? undefined : { pid: Number(pid), host: host!, place: place!, started: started! };
}

/** Whether it is certain that a process runs no more. That of another machine or container may run. */
export function isGone(owner: Owner): boolean {
  const { host, place } = thisProcess();
  if (owner.host !== host) return false;
  if (owner.place !== place) return hasRestarted(owner.place, place);
  return !runs(owner.pid, owner.started);
}

/** What a temporary file's name ends with: who makes it, then `random`, digits in hex. */
export function ownerSuffix(random: string): string {
  const { pid, started } = thisProcess();
  return `_${placeDigits()}-${pid}-${started}_${random}`;
}

/** A new {@link ownerSuffix}, which no other file has; at most 60 bytes. */
export function randomOwnerSuffix(): string {
  return ownerSuffix(randomBytes(RANDOM_BYTES).toString('hex'));
}

/**
 * Whether a file that has a name with an {@link ownerSuffix} was left by a process of this machine that runs no more. Undefined when the name does not say, or
 * names another machine, container or start of the system.
 */
export function isLeftBehind(name: string): boolean | undefined {
  const [, digits, pid, started] = NAME_PATTERN.exec(name) ?? [];
  if (digits !== placeDigits()) return undefined;
  return !runs(Number(pid), started!);
}

function runs(pid: number, started: string): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemCode(error) === 'ESRCH') return false;
  }
  const now = startOf(pid);
  if (now !== undefined && started !== UNKNOWN && now !== started) return false;
  return !isZombie(pid);
}

/** Whether a process has ended, all its threads with it, and only waits to be asked how: where nobody asks, as in many containers, it does so for ever. */
function isZombie(pid: number): boolean {
  if (statFields(pid)?.[STATE_FIELD] !== ZOMBIE) return false;
  const threads = attempt(() => readdirSync(`/proc/${pid}/task`));
  return threads !== undefined && threads.length <= 1;
}

/**
 * Whether the system was started again since; a container that was made anew under its host's name on the same one may run beside this, and so may a machine that
 * only has the same name.
 */
function hasRestarted(before: string, now: string): boolean {
  const [bootBefore, , machineBefore] = before.split('.');
  const [bootNow, , machineNow] = now.split('.');
  if (machineBefore === undefined || machineBefore === UNKNOWN || machineBefore !== machineNow) return false;
  return bootBefore !== UNKNOWN && bootNow !== UNKNOWN && bootBefore !== bootNow;
}

function placeDigits(): string {
  const { host, place } = thisProcess();
  return createHash('sha256').update(`${host} ${place}`).digest('hex').slice(0, PLACE_DIGITS);
}

function ownPlace(): string {
  const boot = attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim());
  const space = attempt(() => readlinkSync('/proc/self/ns/pid').replace(/\D/g, ''));
  return `${boot || UNKNOWN}.${space || UNKNOWN}.${ownMachine() ?? UNKNOWN}`;
}

/** Of machine-id(5), which is not to be shown itself. */
function ownMachine(): string | undefined {
  const id = attempt(() => readFileSync('/etc/machine-id', 'latin1').trim());
  return id ? createHash('sha256').update(id).digest('hex').slice(0, PLACE_DIGITS) : undefined;
}

function startOf(pid: number): string | undefined {
  return statFields(pid)?.[START_FIELD];
}

/** The fields of proc(5) `stat` from the third on. */
function statFields(pid: number): string[] | undefined {
  const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
