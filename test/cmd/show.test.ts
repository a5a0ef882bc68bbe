import { expect, test } from 'vitest';
import { sharedWorkplace } from './imgstore.ts';
import { CLUSTER, fillSampleStore } from './sample.ts';
import { ID, PERSON } from './shapes.ts';

const place = sharedWorkplace(fillSampleStore);

test('show --json tells all about a version', async () => {
  expect(await place().json('show', 'db')).toMatchObject({
    commit: place().git('rev-parse', 'db'),
    tree: place().git('rev-parse', 'db^{tree}'),
    parents: [],
    author: PERSON,
    committer: PERSON,
    message: 'two disks',
    refs: ['db'],
    changedBytes: null,
    disks: [
      {
        name: 'vda',
        virtualSize: 3 * CLUSTER,
        clusterSize: CLUSTER,
        dataBytes: 2 * CLUSTER,
        map: place().git('rev-parse', 'db:disks/vda'),
        source: { format: 'raw' },
      },
      { name: 'vdb', virtualSize: CLUSTER },
    ],
    files: [{ name: 'domain.xml', size: 10, id: ID }],
  });
  expect(await place().json('show', 'v2')).toMatchObject({ refs: ['web', 'v2'], changedBytes: 2 * CLUSTER });
});

test('show prints a version for people', async () => {
  const [id, parent] = place().git('rev-parse', 'web', 'web~1').split('\n');
  expect(await place().ok('show', 'web')).toMatch(
    new RegExp(
      `^commit ${id} \\(web, v2\\)\nParent: ${parent}\nAuthor: An Author <author@example.org>\nDate: {3}[^\n]+\n\n {4}second\n\ndisk vda: 192 KiB, 128 KiB of data, from raw\nchanged since the parent: 128 KiB\n$`,
    ),
  );
  expect(await place().ok('show', 'db')).toContain('file domain.xml: 10 bytes\n');
});
