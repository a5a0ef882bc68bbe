import { execFileSync } from 'node:child_process';
import { hostname, userInfo } from 'node:os';
import { describe, expect, onTestFinished, test } from 'vitest';
import { encodeCommit, encodePerson } from '../../objects/index.ts';
import { Config } from '../../store/config/config.ts';
import { currentPerson } from '../../store/person.ts';
import { git, gitFsck } from './git.ts';
import { newStore } from './new-store.ts';

const SETTINGS = new Config([
  { key: 'user.name', value: 'User' },
  { key: 'user.email', value: 'user@set' },
  { key: 'author.name', value: 'Author' },
  { key: 'committer.email', value: 'committer@set' },
]);

test('currentPerson takes name and email from the variables of the role first', () => {
  const environment = { GIT_AUTHOR_NAME: 'Variable', GIT_COMMITTER_NAME: 'Other', GIT_AUTHOR_EMAIL: 'v@x' };
  expect(currentPerson('author', SETTINGS, environment)).toMatchObject({ name: 'Variable', email: 'v@x' });
});

test('currentPerson takes the settings of the role, then those of the user', () => {
  expect(currentPerson('author', SETTINGS, {})).toMatchObject({ name: 'Author', email: 'user@set' });
  expect(currentPerson('committer', SETTINGS, {})).toMatchObject({ name: 'User', email: 'committer@set' });
});

test('currentPerson passes over empty variables', () => {
  expect(currentPerson('author', SETTINGS, { GIT_AUTHOR_NAME: '', GIT_AUTHOR_DATE: '' })).toMatchObject({
    name: 'Author',
  });
});

test('currentPerson falls back to EMAIL and to the user and host of the machine', () => {
  const user = userInfo().username;
  const none = new Config([]);
  expect(currentPerson('author', none, {})).toMatchObject({ name: user, email: `${user}@${hostname()}` });
  expect(currentPerson('author', none, { EMAIL: 'e@mail' }).email).toBe('e@mail');
});

test('currentPerson gives the present time and zone without a date', () => {
  const before = Math.floor(Date.now() / 1000);
  const { seconds, zoneMinutes } = currentPerson('author', SETTINGS, {});
  expect(seconds).toBeGreaterThanOrEqual(before);
  expect(seconds).toBeLessThanOrEqual(Date.now() / 1000);
  expect(zoneMinutes).toBe(-new Date().getTimezoneOffset());
});

/** Sets the zone of this process and of git for one test. */
function inZone(zone: string): void {
  const before = process.env.TZ;
  process.env.TZ = zone;
  onTestFinished(() => {
    if (before === undefined) delete process.env.TZ;
    else process.env.TZ = before;
  });
}

describe.each(['UTC', 'Europe/Berlin', 'America/St_Johns', 'Asia/Kathmandu'])('in the zone %s', (zone) => {
  test.each([
    '1700000000 +0100',
    '@1700000000 -0330',
    '@0 +0000',
    '1700000000 +0000',
    '1700000000',
    '2023-11-14T22:13:20+0100',
    '2023-11-14T22:13:20+01:00',
    '2023-11-14T22:13:20Z',
    '2023-11-14T22:13:20',
    '2023-07-14T22:13:20',
    '2023-11-14 22:13:20 -0530',
    '2023-11-14 22:13:20',
    'Tue, 14 Nov 2023 22:13:20 +0100',
    'Tue, 14 Nov 2023 22:13:20 GMT',
    'Tue Nov 14 22:13:20 2023 -0800',
    '  1700000000 +0100 ',
  ])('currentPerson reads the date %j as git does', (date) => {
    inZone(zone);
    const environment = { GIT_AUTHOR_NAME: 'N', GIT_AUTHOR_EMAIL: 'e@x', GIT_AUTHOR_DATE: date };
    const person = currentPerson('author', new Config([]), environment);
    const git = execFileSync('git', ['var', 'GIT_AUTHOR_IDENT'], { env: { ...process.env, ...environment } });
    expect(encodePerson(person)).toBe(git.toString().trim());
  });
});

test.each([
  'yesterday',
  '2023-11-14',
  '99999999999999999 +0000',
  'web-2 10:20',
  '2023-13-45T00:00:00Z',
  '17000 pounds',
  '+0100',
  '1700000000 0100',
  '1969-12-31T23:59:59Z',
  '1970-01-01T00:30:00+01:00',
  '1700000000 +1500',
  '1700000000 -9959',
  '2023-11-14T22:13:20 +1401',
])('currentPerson throws USAGE for the date %j', (date) => {
  expect(() => currentPerson('author', SETTINGS, { GIT_AUTHOR_DATE: date })).toThrow(
    expect.objectContaining({ code: 'USAGE' }),
  );
});

test.each(['@0 +0000', '1700000000 +1400', '1700000000 -1400', '1970-01-01T01:00:00+01:00'])(
  'currentPerson takes the date %j, the first or last that git fsck has nothing against',
  async (date) => {
    const { store, path } = await newStore();
    const person = currentPerson('author', SETTINGS, { GIT_AUTHOR_DATE: date });
    const transaction = store.begin();
    const tree = await transaction.put('tree', Buffer.alloc(0));
    const message = 'm\n';
    const commit = encodeCommit({ tree, parents: [], author: person, committer: person, message, extra: [] });
    const id = await transaction.put('commit', commit);
    await transaction.publish();
    await transaction.discard();
    await git(path, 'update-ref', 'refs/heads/web', id);
    await gitFsck(path);
  },
);
