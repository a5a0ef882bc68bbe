import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Brings in the package of the newest kernel for machines of a cloud, by its dependency. */
const KERNEL = 'linux-image-cloud-amd64';
const BUSYBOX = 'busybox-static';
const DISK_SIZE = '64M';
/** Without them the kernel would go on making the file system while the machine runs. */
const FILE_SYSTEM = ['-t', 'ext4', '-E', 'lazy_itable_init=0,lazy_journal_init=0'];

/** Modules that the kernel needs to find the disk, in the order of their dependencies; its ext4 is built in. */
const MODULES = [
  'drivers/virtio/virtio_ring.ko',
  'drivers/virtio/virtio.ko',
  'drivers/virtio/virtio_pci_legacy_dev.ko',
  'drivers/virtio/virtio_pci_modern_dev.ko',
  'drivers/virtio/virtio_pci.ko',
  'drivers/block/virtio_blk.ko',
];

/** The first process: finds the root file system and hands over to its shell, with the arguments of the kernel's command line. */
const INIT = `#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in ${MODULES.map((path) => path.replace(/^.*\//, '')).join(' ')}; do /bin/busybox insmod /modules/$module; done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /bin/sh "$@"
`;

/** What busybox is called as. */
const COMMANDS = ['sh', 'cat', 'mount', 'sha256sum', 'sleep', 'sync'];

/**
 * A small Linux disk that can be started: one ext4 file system without a partition table, with the kernel of a distribution, an initrd and busybox. It is made of two packages of Debian, which come from where
 * this machine's apt takes them, and kept for the next time.
 * @throws when apt has no such packages
 */
export async function bootDisk(): Promise<string> {
  const kept = join(tmpdir(), `imgstore-boot-disk-${userInfo().uid}`);
  await mkdir(kept, { mode: 0o700, recursive: true });
  // Others can make folders of that name too.
  if ((await lstat(kept)).uid !== userInfo().uid) throw new Error(`${kept} belongs to somebody else`);
  const recipe = createHash('sha256')
    .update(JSON.stringify([INIT, COMMANDS, FILE_SYSTEM, DISK_SIZE]))
    .digest('hex')
    .slice(0, 12);
  const disk = join(kept, `linux-${recipe}.raw`);
  if (existsSync(disk)) return disk;
  const folder = await mkdtemp(join(kept, 'making-'));
  try {
    const packages = await unpacked(folder);
    const [root, made] = [await rootFolder(folder, packages), join(folder, 'disk')];
    await run('mke2fs', ['-q', ...FILE_SYSTEM, '-d', root, made, DISK_SIZE]);
    await rename(made, disk);
  } finally {
    await rm(folder, { recursive: true });
  }
  return disk;
}

/** Fetches the packages, and returns the folder with their files. */
async function unpacked(folder: string): Promise<string> {
  const options = { cwd: folder, env: { ...process.env, LC_ALL: 'C' } };
  const { stdout } = await run('apt-cache', ['depends', KERNEL], options);
  const kernel = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
  if (kernel === undefined) throw new Error(`apt knows no ${KERNEL}`);
  // Otherwise apt of root says that another user could not read the folder.
  const asUser = ['-o', `APT::Sandbox::User=${userInfo().username}`];
  await run('apt-get', [...asUser, '-q', 'download', kernel, BUSYBOX], options);
  const into = join(folder, 'packages');
  for (const name of await readdir(folder))
    if (name.endsWith('.deb')) await run('dpkg-deb', ['-x', name, into], options);
  return into;
}

/** The disk's files. */
async function rootFolder(folder: string, packages: string): Promise<string> {
  const root = join(folder, 'root');
  const [version] = await readdir(join(packages, 'lib/modules'));
  await emptySystem(root, packages, ['proc', 'sys', 'dev', 'boot', 'root']);
  for (const name of COMMANDS) await symlink('busybox', join(root, 'bin', name));
  await copyFile(join(packages, `boot/vmlinuz-${version}`), join(root, `boot/vmlinuz-${version}`));
  const start = join(folder, 'start');
  await emptySystem(start, packages, ['dev', 'root', 'modules']);
  for (const path of MODULES) {
    const from = join(packages, 'lib/modules', version!, 'kernel', path);
    await copyFile(from, join(start, 'modules', path.replace(/^.*\//, '')));
  }
  await writeFile(join(start, 'init'), INIT, { mode: 0o755 });
  const archive = join(root, `boot/initrd.img-${version}`);
  await run('sh', ['-ec', 'find . | bin/busybox cpio -o -H newc > "$0"', archive], { cwd: start });
  return root;
}

/** Makes a folder with busybox and empty folders. */
async function emptySystem(path: string, packages: string, folders: readonly string[]): Promise<void> {
  for (const name of ['bin', ...folders]) await mkdir(join(path, name), { recursive: true });
  await copyFile(join(packages, 'bin/busybox'), join(path, 'bin/busybox'));
  await chmod(join(path, 'bin/busybox'), 0o755);
}
