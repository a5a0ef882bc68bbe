import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { NULL_ID } from '../../../objects/index.ts';
import { recordPoints } from '../../files/fault.ts';
import { git } from '../git.ts';
import { fileText, move, PERSON, storeWithCommits } from './some-refs.ts';

const WEB = 'refs/heads/web';
const LOG = `logs/${WEB}`;

test.each([
  ['in the message', 'mov'],
  ['in the person', `${NULL_ID} ${'a'.repeat(64)} R. Mo`],
  ['in the id', 'abc'],
])('Reflogs.append begins a new line behind one that was cut off %s', async (_, cut) => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, WEB, NULL_ID, ids[0]!, 'one');
  appendFileSync(join(path, LOG), cut);
  await move(refs, WEB, ids[0], ids[1]!, 'two');
  expect(fileText(path, LOG).split('\n').at(-2)).toMatch(/\ttwo$/);
  expect((await refs.logs.read(WEB)).map(({ message }) => message)).toEqual(['one', 'two']);
  expect(await git(path, 'reflog', 'show', '--format=%gs', '-1', 'web')).toBe('two');
});

test('Reflogs.read passes over lines that are none', async () => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, WEB, NULL_ID, ids[0]!, 'one');
  const zeros = '\0'.repeat(40);
  appendFileSync(join(path, LOG), `${zeros}\nnonsense\n${ids[0]} ${ids[1]} nobody\tx\n`);
  await move(refs, WEB, ids[0], ids[1]!, 'two');
  expect((await refs.logs.read(WEB)).map(({ message }) => message)).toEqual(['one', 'two']);
});

test('Reflogs.replace puts lines in the place of others, as git reads them', async () => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, WEB, NULL_ID, ids[0]!, 'one');
  await refs.logs.replace(WEB, [{ before: NULL_ID, after: ids[0]!, person: PERSON, message: 'new' }]);
  expect(await git(path, 'reflog', 'show', '--format=%gs', 'web')).toBe('new');
});

test('Refs.update makes the folders of a new ref and of its log last', async () => {
  const { refs, path, ids } = await storeWithCommits();
  const passed = recordPoints();
  await move(refs, 'refs/heads/a/b/c', NULL_ID, ids[0]!);
  const synced = passed.filter(({ point }) => point.endsWith('.fsync-folder')).map((each) => each.path);
  for (const folder of ['refs/heads', 'refs/heads/a', 'refs/heads/a/b'])
    for (const root of [path, join(path, 'logs')]) expect(synced).toContain(join(root, folder));
  expect(synced.indexOf(join(path, 'logs/refs/heads/a/b'))).toBeLessThan(
    synced.lastIndexOf(join(path, 'refs/heads/a/b')),
  );
});

test('Refs.update removes a packed ref although an empty folder has its name', async () => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, WEB, NULL_ID, ids[0]!);
  await git(path, 'pack-refs', '--all');
  mkdirSync(join(path, WEB));
  await move(refs, WEB, ids[0], NULL_ID);
  expect(await git(path, 'for-each-ref')).toBe('');
});

test('Refs.update keeps what the first line of packed-refs says true when it removes a ref', async () => {
  const { refs, path, ids } = await storeWithCommits();
  const text = `# pack-refs with: peeled \n${ids[0]} refs/heads/z\n${ids[0]} refs/heads/a\n${ids[1]} refs/heads/m\n`;
  writeFileSync(join(path, 'packed-refs'), text);
  await move(refs, 'refs/heads/a', ids[0], NULL_ID);
  expect(fileText(path, 'packed-refs')).toBe(text.replace(`${ids[0]} refs/heads/a\n`, ''));
  expect(await git(path, 'rev-parse', 'z', 'm')).toBe(`${ids[0]}\n${ids[1]}`);
});

test.each([
  ['a', 'a/b'],
  ['a', 'a/b/c'],
  ['a/b', 'a'],
  ['a/b/c', 'a'],
])('Refs.update makes %2$s although a log of %1$s is left from before', async (left, made) => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, `refs/heads/${left}`, NULL_ID, ids[0]!);
  // As a kill between the two steps of a removal leaves it.
  rmSync(join(path, `refs/heads/${left}`));
  await move(refs, `refs/heads/${made}`, NULL_ID, ids[1]!, 'made');
  expect(await git(path, 'reflog', 'show', '--format=%gs', made)).toBe('made');
});
