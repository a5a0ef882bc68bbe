import * as fs from 'node:fs';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { ClusterWriter, WriteTurn } from '../../../store/workers/cluster-writer.ts';
import { failure } from '../../objects/damage.ts';
import { noise } from '../../objects/noise.ts';
import { tempFolder } from '../../qcow2/qemu.ts';

vi.mock('node:fs', async (original) => {
  const actual = await original<typeof fs>();
  return { ...actual, writevSync: vi.fn(actual.writevSync) };
});

const file = tempFolder();

function open(name: string, flags = 'w+') {
  const path = file(name);
  if (flags === 'r') writeFileSync(path, '');
  const fd = openSync(path, flags);
  onTestFinished(() => closeSync(fd));
  return { fd, path };
}

test('ClusterWriter writes each part at its place, neighbours or not, in any order', () => {
  const place = fc.record({ slot: fc.nat(40), length: fc.integer({ min: 1, max: 100 }) });
  fc.assert(
    fc.property(fc.array(place, { maxLength: 60 }), fc.infiniteStream(fc.boolean()), (places, offers) => {
      const output = open('any');
      const expected = Buffer.alloc(41 * 100);
      const writer = new ClusterWriter(output, WriteTurn.share());
      let end = 0;
      for (const [i, { slot, length }] of places.entries()) {
        const data = noise(length, i);
        data.copy(expected, slot * 100);
        end = Math.max(end, slot * 100 + length);
        writer.add(data, slot * 100);
        if (offers.next().value) writer.offer();
      }
      writer.flush();
      expect(readFileSync(output.path).equals(expected.subarray(0, end))).toBe(true);
    }),
    { numRuns: 30 },
  );
});

test('ClusterWriter writes more neighbours than one call of the system takes', () => {
  const output = open('many');
  const writer = new ClusterWriter(output, WriteTurn.share());
  const bytes = noise(3000, 1);
  for (let i = 0; i < bytes.length; i++) writer.add(bytes.subarray(i, i + 1), i);
  writer.flush();
  expect(readFileSync(output.path).equals(bytes)).toBe(true);
});

test('ClusterWriter goes on behind what the system has written when that is less than all', () => {
  const output = open('short');
  const writev = vi.mocked(fs.writevSync).getMockImplementation()!;
  vi.mocked(fs.writevSync).mockImplementation((fd, parts, at) => {
    const first = parts[0] as Uint8Array;
    return writev(fd, [first.subarray(0, 7)], at);
  });
  onTestFinished(() => {
    vi.mocked(fs.writevSync).mockImplementation(writev);
  });
  const writer = new ClusterWriter(output, WriteTurn.share());
  const bytes = noise(100, 1);
  for (let at = 0; at < 100; at += 10) writer.add(bytes.subarray(at, at + 10), at);
  writer.flush();
  expect(readFileSync(output.path).equals(bytes)).toBe(true);
});

test('ClusterWriter.offer leaves what there is when another thread writes, and flush waits for its turn', async () => {
  const output = open('turns');
  const shared = WriteTurn.share();
  const other = new WriteTurn(shared);
  expect(other.tryTake()).toBe(true);
  const writer = new ClusterWriter(output, shared);
  writer.add(Buffer.from('abc'), 0);
  writer.offer();
  expect(readFileSync(output.path)).toHaveLength(0);
  other.giveBack();
  writer.offer();
  expect(readFileSync(output.path, 'latin1')).toBe('abc');
  expect(other.tryTake()).toBe(true);
});

test('ClusterWriter.flush takes the turn of a thread that has gone', () => {
  const output = open('gone');
  const shared = WriteTurn.share();
  expect(new WriteTurn(shared).tryTake()).toBe(true);
  const writer = new ClusterWriter(output, shared);
  writer.add(Buffer.from('abc'), 5);
  writer.flush();
  expect(readFileSync(output.path)).toHaveLength(8);
});

test('ClusterWriter names the file when writing fails, and gives its turn back', () => {
  const output = open('unwritable', 'r');
  const shared = WriteTurn.share();
  const writer = new ClusterWriter(output, shared);
  writer.add(Buffer.from('abc'), 0);
  expect(failure(() => writer.flush())).toMatchObject({
    code: 'IO',
    message: expect.stringContaining(output.path),
  });
  expect(new WriteTurn(shared).tryTake()).toBe(true);
});
