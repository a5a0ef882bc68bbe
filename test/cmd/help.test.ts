import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { VERBS } from '../../cmd/verbs.ts';
import { oneLine, Workplace } from './imgstore.ts';

test.each(VERBS.map(({ name }) => name))('imgstore %s --help prints usage and an example', async (verb) => {
  const place = await Workplace.create();
  const { status, stdout, stderr } = await place.run(verb, '--help');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(new RegExp(`^Usage: imgstore ${verb}\\b`));
  expect(stdout).toMatch(new RegExp(`^Example:\\n {2}imgstore ${verb}\\b`, 'm'));
  for (const option of ['-C <dir>', '--store <dir>', '--json', '--quiet', '--verbose', '--no-progress'])
    expect(stdout).toContain(option);
});

test('imgstore --help lists every verb when nothing else is asked', async () => {
  const place = await Workplace.create();
  const { status, stdout, stderr } = await place.run('--help');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  for (const { name, description } of VERBS) {
    expect(stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'));
    expect(stdout.replace(/\s+/g, ' ')).toContain(description);
  }
  expect((await place.run('help', 'commit')).stdout).toBe((await place.run('commit', '--help')).stdout);
  expect(await place.run('help', 'comit')).toMatchObject({
    status: 2,
    stderr: "imgstore: no verb 'comit': see 'imgstore help'\n",
  });
});

test('imgstore --version prints the version of the package', async () => {
  const place = await Workplace.create();
  const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
  expect(await place.run('--version')).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: '' });
});

test('imgstore prints its help and exits with 2 when no verb is given', async () => {
  const place = await Workplace.create();
  const { status, stdout } = await place.run();
  expect(status).toBe(2);
  expect(stdout).toMatch(/^Usage: imgstore/);
});

test.each([
  [['frobnicate'], 'frobnicate'],
  [['comit'], 'Did you mean commit?'],
  [['log', '--frobnicate'], '--frobnicate'],
  [['--frobnicate', 'log'], '--frobnicate'],
  [['log', '-n'], '-n'],
  [['log', '-n', 'many'], 'many'],
  [['log', 'a', 'b'], 'argument'],
  [['show'], 'rev'],
  [['commit'], 'no image'],
  [['commit', 'a.raw', '--format', 'nonsense'], 'nonsense'],
  [['init', '--cluster-size', 'big'], 'big'],
  [['cat', 'web', '--offset', '-1'], '-1'],
  [['-C', 'nowhere', 'log'], 'nowhere'],
] as const)('imgstore %j exits with 2 and one line', async (args, part) => {
  const place = await Workplace.create();
  const outcome = await place.run(...args);
  expect(outcome).toMatchObject({ status: 2, stdout: '' });
  expect(oneLine(outcome)).toContain(part);
});
