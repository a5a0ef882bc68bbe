import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import { createEncrypted, encryptedIo } from '../crypto/qemu-encrypted.ts';
import { makeSeeds, type Seed } from '../fuzz/seeds.ts';
import { tempFolder } from '../qemu.ts';
import { type DiskBytes, differsFromQemu, lookAround, readDisk } from './judge.ts';
import { type StructureField, structureFields } from './structures.ts';
import { hostileValues, withValue } from './values.ts';

/*
 * Every field of every structure, set to everything that could be wrong with it. What is read must be what QEMU reads;
 * all else must be one error.
 */
const file = tempFolder();
const IMAGES = [...(await makeSeeds()).filter(({ name }) => name !== 'luks'), await encrypted()];

/**
 * A disk needs none of these: what QEMU refuses for them may be read all the same, as what it was. A qcow2 image has
 * its data elsewhere than where a LUKS header says.
 */
const NOT_NEEDED =
  /^(refcount|snapshot|bitmap)|^header (refcount_|nb_snapshots|snapshots_offset)|^header extension 0x23852875|payload_offset/;
/**
 * All of it is thousands of images, most of them with a process of QEMU: `npm run test:long`. Otherwise a field is set in
 * the first image that has it, those that say where the disk's data is in every image, and QEMU judges what reads otherwise than
 * before.
 */
const IS_LONG = process.env.IMGSTORE_LONG === '1';
const SAYS_WHERE = /^active L[12] table/;

let undamaged: ReadonlyMap<string, DiskBytes>;
beforeAll(async () => {
  await writeFile(file('base.raw'), Buffer.alloc(40_000, 0xbb));
  await writeFile(file('data.raw'), Buffer.alloc(2 ** 20, 0xdd));
  const disks = new Map<string, DiskBytes>();
  for (const { name, bytes } of IMAGES) {
    await writeFile(file('good.qcow2'), bytes);
    const disk = await readDisk(file('good.qcow2'));
    if (disk instanceof ImgstoreError) throw disk;
    expect({ name, differs: await differsFromQemu(file('.'), file('good.qcow2'), disk) }).toEqual({
      name,
      differs: undefined,
    });
    disks.set(name, disk);
  }
  undamaged = disks;
});

/** With a LUKS header of QEMU's own, which is pickier than ours. */
async function encrypted(): Promise<Seed> {
  const folder = await mkdtemp(join(tmpdir(), 'imgstore-luks-'));
  const path = join(folder, 'luks.qcow2');
  await createEncrypted(path, 'luks', '256k', ['cluster_size=4k', 'encrypt.cipher-alg=aes-128']);
  await encryptedIo(path, 'luks', 'write -P 1 0 20k', 'write -z 20k 8k', 'write -c -P 2 32k 4k');
  const bytes = await readFile(path);
  await rm(folder, { recursive: true });
  return { name: 'luks', bytes };
}

/** What is wrong with how an image is taken; undefined if nothing is. */
async function fault(
  bytes: Buffer,
  { structure, field }: StructureField,
  good: DiskBytes,
): Promise<string | undefined> {
  const path = file('hostile.qcow2');
  await writeFile(path, bytes);
  await lookAround(path);
  const disk = await readDisk(path);
  if (disk instanceof ImgstoreError) return undefined;
  const isSame = sameBytes(disk, good);
  const differs = isSame && !IS_LONG ? undefined : await differsFromQemu(file('.'), path, disk);
  if (differs !== undefined) {
    const isNeeded = !NOT_NEEDED.test(`${structure} ${field}`);
    if (!differs.startsWith('refused') || isNeeded || !isSame) return differs;
  }
  if (
    !structure.startsWith('snapshot') ||
    (!IS_LONG && !/table entry$|l1_|L2 table|disk_size/.test(`${structure} ${field}`))
  )
    return undefined;
  const former = await readDisk(path, '1');
  return former instanceof ImgstoreError ? undefined : differsFromQemu(file('.'), path, former, '1');
}

function sameBytes(a: DiskBytes, b: DiskBytes): boolean {
  return a.size === b.size && a.parts.every(({ bytes }, i) => bytes.equals(b.parts[i]!.bytes));
}

/** What is set in each image. */
const FIELDS = new Map<string, readonly StructureField[]>();
const seen = new Set<string>();
for (const { name, bytes } of IMAGES) {
  const fields = structureFields(bytes).filter(({ structure, field }) => {
    const isNew = !seen.has(`${structure} ${field}`);
    seen.add(`${structure} ${field}`);
    return IS_LONG || isNew || SAYS_WHERE.test(structure);
  });
  FIELDS.set(name, fields);
}

describe.each(IMAGES)('an image ($name)', ({ name, bytes }) => {
  const fields = FIELDS.get(name)!;
  const structures = [...new Set(fields.map(({ structure }) => structure))];

  it.each(structures)('is read as QEMU reads it or refused when its %s is anything', async (structure) => {
    const faults: string[] = [];
    for (const field of fields.filter((each) => each.structure === structure)) {
      for (const value of hostileValues(bytes, field)) {
        const wrong = await fault(withValue(bytes, field, value), field, undamaged.get(name)!).catch(
          (error: unknown) => `throws ${String(error)}`,
        );
        if (wrong !== undefined)
          faults.push(`${structure} ${field.field} = 0x${value.toString(16)}: ${wrong}`);
      }
    }
    expect(faults.join('\n')).toBe('');
  });
});
