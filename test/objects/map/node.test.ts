import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  emptyNode,
  encodeNode,
  encodeTree,
  MODE_FILE,
  MODE_FOLDER,
  parseNode,
} from '../../../objects/index.ts';
import { damage } from '../damage.ts';
import { GitRepository } from '../git.ts';
import { blob } from './tree-store.ts';

const anyNode = fc.array(fc.option(fc.nat().map(blob), { nil: undefined, freq: 2 }), {
  minLength: 256,
  maxLength: 256,
});

test('parseNode is the inverse of encodeNode at any level', () => {
  fc.assert(
    fc.property(anyNode, fc.integer({ min: 1, max: 6 }), (node, level) => {
      expect(parseNode(encodeNode(node, level), level)).toEqual(node);
    }),
    {
      numRuns: 30,
      examples: [
        [emptyNode(), 1],
        [emptyNode().fill(blob(1)), 2],
      ],
    },
  );
});

test('parseNode throws DAMAGED when a node of clusters stands for one of nodes, and the other way round', () => {
  const node = emptyNode();
  node[7] = blob(7);
  expect(damage(() => parseNode(encodeNode(node, 1), 2)).message).toContain(
    "mode 100644 for '07' at level 2",
  );
  expect(damage(() => parseNode(encodeNode(node, 2), 1)).message).toContain("mode 40000 for '07' at level 1");
});

test.each(['0', '000', '0A', 'FF', 'fg', 'zz', '-1', ' 0', '0x', 'image.json', '__proto__', 'length'])(
  'parseNode throws DAMAGED for an entry "%s"',
  (name) => {
    const { message } = damage(() => parseNode(encodeTree([{ mode: MODE_FILE, name, id: blob(1) }]), 1));
    expect(message).toContain(`'${name}'`);
  },
);

test.each(['100755', '120000', '160000', '100664'])('parseNode throws DAMAGED for mode %s', (mode) => {
  damage(() => parseNode(encodeTree([{ mode, name: '00', id: blob(1) }]), 1));
  damage(() => parseNode(encodeTree([{ mode, name: '00', id: blob(1) }]), 2));
});

test('parseNode throws DAMAGED when an entry comes twice', () => {
  const entry = { mode: MODE_FOLDER, name: '00', id: blob(1) };
  damage(() => parseNode(encodeTree([entry, entry]), 2));
});

test('parseNode throws DAMAGED or nothing for any bytes', () => {
  const node = encodeNode(emptyNode().fill(blob(9), 3, 7), 1);
  fc.assert(
    fc.property(fc.nat(node.length - 1), fc.nat(255), fc.nat(node.length), (at, value, length) => {
      const hostile = Buffer.from(node);
      hostile[at] = value;
      try {
        expect(parseNode(hostile.subarray(0, length), 1)).toHaveLength(256);
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^(DAMAGED|UNSUPPORTED)$/) });
      }
    }),
    { numRuns: 1000 },
  );
});

test('encodeNode makes trees that git fsck finds in order', () => {
  const repository = GitRepository.create();
  const cluster = repository.store('blob', Buffer.from('cluster'));
  const leaf = repository.store('tree', encodeNode(emptyNode().fill(cluster), 1));
  repository.store('tree', encodeNode(emptyNode().fill(leaf), 2));
  repository.fsck();
});
