import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { expect, type TestContext, test } from 'vitest';
import { oneLine, Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';
import { type Sshd, startSshd } from './sshd.ts';

/** A folder in which imgstore goes to a real ssh server; the test says that it is skipped where there is none. */
class SshPlace {
  readonly place: Workplace;
  readonly sshd: Sshd;

  private constructor(place: Workplace, sshd: Sshd) {
    this.place = place;
    this.sshd = sshd;
  }

  static async create(context: TestContext): Promise<SshPlace> {
    const sshd = await startSshd();
    if (typeof sshd === 'string') return context.skip(sshd);
    return new SshPlace(await Workplace.create(), sshd);
  }

  url(name: string): string {
    return this.sshd.url + this.place.path(name);
  }

  run(args: readonly string[], env: NodeJS.ProcessEnv = this.sshd.environment) {
    return this.place.start(args, { env }).finished;
  }

  /** Runs git outside of any store, which must succeed, and returns what it prints. */
  git(...args: readonly string[]): string {
    const { folder, environment } = this.place;
    return execFileSync('git', args, { cwd: folder, env: environment, encoding: 'utf8', stdio: 'pipe' });
  }

  async ok(...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(args);
    expect([args, status, stderr]).toEqual([args, 0, '']);
    return stdout;
  }

  async commit(store: string, image: string, ...seeds: readonly number[]): Promise<void> {
    await writeDisk(this.place, `${image}.raw`, ...seeds);
    await this.ok('--store', store, 'commit', `${image}.raw`, '-m', seeds.join());
  }
}

test('push, clone, fetch and pull go to a bare repository and back by ssh', async (context) => {
  const here = await SshPlace.create(context);
  const { place } = here;
  here.git('init', '-q', '--bare', '--object-format=sha256', 'remote.git');
  await here.ok('init', 'a');
  await here.commit('a', 'web', 1, 2);
  await here.ok('--store', 'a', 'remote', 'add', 'origin', here.url('remote.git'), '--probe');
  expect(await here.ok('--store', 'a', 'push')).toMatch(/^new {2}web {2}/);
  await here.ok('clone', here.url('remote.git'), 'b');
  await here.commit('a', 'web', 1, 3);
  expect(await here.ok('--store', 'a', 'push')).toMatch(/^forward {2}web {2}/);
  expect(await here.ok('--store', 'b', 'fetch')).toMatch(/^forward {2}origin\/web {2}/);
  await here.ok('--store', 'b', 'pull');
  await here.ok('--store', 'b', 'checkout', 'web', '-o', 'out.raw');
  expect((await readFile(place.path('out.raw'))).equals(await readFile(place.path('web.raw')))).toBe(true);
  await here.ok('--store', 'b', 'push', 'origin', 'web:nightly');
  expect(await here.ok('ls-remote', here.url('remote.git'), '--store', 'b')).toMatch(/ {2}nightly\b/);
  here.git('-C', 'remote.git', 'fsck', '--full', '--strict');
});

test('clone, and push to, a store that is named by its .imgstore folder by ssh', async (context) => {
  const here = await SshPlace.create(context);
  await here.ok('init', 'a');
  await here.commit('a', 'web', 1, 2);
  await here.ok('clone', here.url('a/.imgstore'), 'b');
  await here.commit('b', 'db', 7);
  expect(await here.ok('--store', 'b', 'push')).toMatch(/^new {2}db {2}/);
  expect(await here.ok('--store', 'a', 'log', 'db')).toMatch(/^commit /);
});

test('a server that lets nobody in, or that nobody knows, is told in one line and changes nothing', async (context) => {
  const here = await SshPlace.create(context);
  const { sshd } = here;
  await here.ok('init', 'a');
  here.git('init', '-q', '--bare', '--object-format=sha256', 'remote.git');
  await here.ok('--store', 'a', 'remote', 'add', 'origin', here.url('remote.git'));
  await here.commit('a', 'web', 1);
  const cases: readonly [readonly string[], NodeJS.ProcessEnv, RegExp][] = [
    [['--store', 'a', 'push'], sshd.strangerEnvironment, /Permission denied \(publickey\)/],
    [['--store', 'a', 'fetch'], sshd.newcomerEnvironment, /Host key verification failed/],
    [['clone', here.url('remote.git'), 'b'], sshd.strangerEnvironment, /Permission denied \(publickey\)/],
    [['clone', here.url('nosuch.git'), 'b'], sshd.environment, /nosuch\.git/],
  ];
  for (const [args, env, reason] of cases) {
    const outcome = await here.run(args, env);
    expect(outcome.status).toBe(1);
    expect(oneLine(outcome)).toMatch(reason);
  }
  expect(here.git('-C', 'remote.git', 'for-each-ref')).toBe('');
});
