import { closeSync, openSync, writeFileSync } from 'node:fs';
import { crc32, inflateSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import { deflateRoom, objectId } from '../../../objects/index.ts';
import { encodeEntryHead } from '../../../pack/index.ts';
import {
  type ClusterBatch,
  type FileBatch,
  ingest,
  ingestedObjects,
} from '../../../store/workers/ingest-job.ts';
import { mixed, noise } from '../../objects/noise.ts';
import { tempFolder } from '../../qcow2/qemu.ts';

const file = tempFolder();
const CLUSTER = 4096;
/** Data, zeros, noise that does not deflate, and a last cluster that is cut short. */
const DISK = Buffer.concat([mixed(CLUSTER, 1), Buffer.alloc(CLUSTER), noise(CLUSTER, 2), mixed(1000, 3)]);
const CLUSTERS = [0, 1, 2, 3].map((i) => DISK.subarray(i * CLUSTER, (i + 1) * CLUSTER));
const IDS = CLUSTERS.map((bytes, i) => (i === 1 ? undefined : objectId('blob', bytes)));

function inBuffer(): ClusterBatch {
  const buffer = new SharedArrayBuffer(DISK.length + 100);
  new Uint8Array(buffer).set(DISK);
  return { buffer, length: DISK.length, clusterSize: CLUSTER };
}

function inFile(): FileBatch {
  const path = file('disk');
  writeFileSync(path, Buffer.concat([Buffer.alloc(77), DISK]));
  const fd = openSync(path, 'r');
  onTestFinished(() => closeSync(fd));
  const cut = 3000;
  const pieces = [
    { fd, path, offset: 77, length: cut },
    { fd, path, offset: 77 + cut, length: DISK.length - cut },
  ];
  return { pieces, length: DISK.length, clusterSize: CLUSTER };
}

const output = () => new SharedArrayBuffer(4 * deflateRoom(CLUSTER));

test.each([
  ['a buffer', inBuffer],
  ['a file', inFile],
])('ingest hashes and stores clusters in %s', (_, make) => {
  const batch = make();
  expect(ingest({ batch, store: undefined })).toEqual({ ids: IDS, ends: [], crcs: [] });
  for (const picks of [undefined, IDS, IDS.map((id, i) => (i === 2 ? id : undefined))]) {
    const room = output();
    const made = ingest({ batch, store: { picks, level: 1, output: room } });
    expect(made.ids).toEqual(picks ?? IDS);
    const objects = ingestedObjects(batch, made, room);
    expect(objects.map(({ id }) => id)).toEqual((picks ?? IDS).filter((id) => id !== undefined));
    for (const { id, size, deflated, crc } of objects) {
      const bytes = CLUSTERS[IDS.indexOf(id)]!;
      expect(inflateSync(deflated).equals(bytes)).toBe(true);
      expect(size).toBe(bytes.length);
      expect(crc).toBe(crc32(deflated, crc32(encodeEntryHead('blob', size))));
    }
  }
});

test('ingest throws IN_USE when a cluster of a file is not any more what it was', () => {
  const picks = [undefined, undefined, objectId('blob', Buffer.from('before')), undefined];
  expect(() => ingest({ batch: inFile(), store: { picks, level: 1, output: output() } })).toThrowError(
    expect.objectContaining({
      code: 'IN_USE',
      message: expect.stringMatching(
        /disk: changed while it was read: stop what writes to it and try again$/,
      ),
    }),
  );
});
