import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, lstatSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { oneLine, type RunOptions, Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';

const MODES: readonly (readonly [string, string | undefined])[] = [
  ...['022', '027', '077', '002'].flatMap((umask) =>
    [undefined, 'group', '0640'].map((setting) => [umask, setting] as const),
  ),
  ['027', 'umask'],
  ['027', 'all'],
  ['027', '0666'],
];

/** Runs a program with a umask. */
function withUmask(umask: string): RunOptions {
  return { through: ['sh', '-c', `umask ${umask}; exec "$0" "$@"`] };
}

async function ok(place: Workplace, args: readonly string[], options: RunOptions): Promise<void> {
  const { status, stderr } = await place.start(args, options).finished;
  if (status !== 0) throw new Error(`imgstore ${args.join(' ')}: ${stderr}`);
}

/** What a path in a repository is, for all whose modes are the same there; undefined for what is git's or ours alone. */
function kindOf(path: string): string | undefined {
  if (/^(HEAD|config|description|objects|objects\/(pack|info)|refs|refs\/(heads|tags|heads\/a))?$/.test(path))
    return path;
  if (/^objects\/pack\/.*\.(pack|idx|rev)$/.test(path)) return path.slice(path.lastIndexOf('.'));
  if (path === 'objects/pack/multi-pack-index') return 'midx';
  if (/^objects\/[0-9a-f]{2}$/.test(path)) return 'fan-out folder';
  if (/^objects\/[0-9a-f]{2}\//.test(path)) return 'loose object';
  if (/^(refs|logs)\/.*b$/.test(path)) return path.slice(0, 4);
  return /^logs\/refs\/heads$/.test(path) ? 'folder of logs' : undefined;
}

/** Modes by kind. */
function modesBelow(store: string): Record<string, string> {
  const modes = new Map<string, Set<string>>();
  for (const path of ['', ...(readdirSync(store, { recursive: true }) as string[])]) {
    const kind = kindOf(path);
    if (kind === undefined) continue;
    const mode = (lstatSync(join(store, path)).mode & 0o7777).toString(8);
    modes.set(kind, (modes.get(kind) ?? new Set()).add(mode));
  }
  return Object.fromEntries([...modes].map(([kind, found]) => [kind, [...found].sort().join(' ')]));
}

function keptPack(place: Workplace): string {
  const folder = place.path('.imgstore/objects/pack');
  const pack = readdirSync(folder).find((name) => name.endsWith('.pack'))!;
  return join(folder, pack.replace(/pack$/, 'keep'));
}

/** A repository that git made by itself: loose objects, two packs with a multi-pack-index, a ref with its log. */
const GIT_SCRIPT = `
  umask $1; shared=$2
  git init -q --bare --object-format=sha256 $shared repo && cd repo || exit 1
  git config core.logAllRefUpdates always && git config pack.writeReverseIndex true
  for i in 1 2; do
    tree=$(git mktree </dev/null) && commit=$(git commit-tree $tree -m $i) && git update-ref refs/heads/a/b $commit || exit 1
    git repack -q || exit 1
  done
  git multi-pack-index write --no-progress && printf x | git hash-object -w --stdin >/dev/null`;

test.each(MODES)(
  'files of a store have the modes that git gives with umask %s and core.sharedRepository %s',
  async (umask, setting) => {
    const place = await Workplace.create();
    const shared = setting === undefined ? [] : [`--shared=${setting}`];
    const made = spawnSync('sh', ['-c', GIT_SCRIPT, 'sh', umask, ...shared], {
      cwd: place.folder,
      env: place.environment,
      encoding: 'utf8',
    });
    expect(made.stderr).toBe('');
    const options = withUmask(umask);
    await ok(place, ['init', ...shared], options);
    place.git('config', 'imgstore.unpackLimit', '1');
    for (const seed of [1, 2]) {
      await writeDisk(place, 'b.raw', seed);
      await ok(place, ['commit', 'b.raw', '-b', 'a/b'], options);
      // A pack that is kept, so that there are two and an index over both.
      if (seed === 1) writeFileSync(keptPack(place), '');
    }
    place.git('config', '--unset', 'imgstore.unpackLimit');
    await ok(place, ['pack'], options);
    await ok(place, ['commit', 'b.raw', '-b', 'a/b', '--allow-empty'], options);
    const ours = modesBelow(place.path('.imgstore'));
    const theirs = modesBelow(place.path('repo'));
    // git's own multi-pack-index can be written to, though nobody ever does.
    const readOnly = (Number.parseInt(theirs.midx!, 8) & 0o444).toString(8);
    expect(ours).toEqual({ ...theirs, midx: readOnly });
  },
);

test.each([
  [[], ''],
  [['--shared'], 'sharedrepository = 1'],
  [['--shared=true'], 'sharedrepository = 1'],
  [['--shared=world'], 'sharedrepository = 2'],
  [['--shared=0640'], 'sharedrepository = 0640'],
  [['--shared=false'], ''],
])('init %j writes into the config what git init writes', async (options, line) => {
  const place = await Workplace.create();
  await place.ok('init', ...options);
  spawnSync('git', ['init', '-q', '--bare', ...options, 'repo'], {
    cwd: place.folder,
    env: place.environment,
  });
  for (const config of ['.imgstore/config', 'repo/config']) {
    const text = readFileSync(place.path(config), 'utf8');
    expect(/sharedrepository = .*/.exec(text)?.[0] ?? '').toBe(line);
    expect(text.includes('denyNonFastforwards = true')).toBe(line !== '');
  }
});

test.each(['0460', 'some', '0688'])(
  'init --shared=%s is an error of usage and makes nothing',
  async (who) => {
    const place = await Workplace.create();
    const outcome = await place.run('init', `--shared=${who}`);
    expect(outcome.status).toBe(2);
    expect(oneLine(outcome)).toContain(`--shared = ${who}: `);
    expect(readdirSync(place.folder)).toEqual([]);
  },
);

const GROUP_ID = 65534;

/** One of two users of a group. */
function asUser(id: 60001 | 60002): RunOptions {
  const user = ['setpriv', `--reuid=${id}`, `--regid=${GROUP_ID}`, '--clear-groups'];
  return { through: [...user, 'sh', '-c', 'umask 077; exec "$0" "$@"'] };
}

/** A store that two users share, in a folder of their group. */
async function sharedStore(): Promise<Workplace> {
  const place = await Workplace.create();
  chownSync(place.folder, 0, GROUP_ID);
  chmodSync(place.folder, 0o2775);
  await ok(place, ['init', '--shared'], asUser(60001));
  return place;
}

const isRoot = process.getuid?.() === 0;

test.runIf(isRoot)('two users of a group work on one store in turns', async () => {
  const place = await sharedStore();
  for (const [i, user] of ([60001, 60002, 60001] as const).entries()) {
    await writeDisk(place, 'web.raw', 1, i + 2);
    chmodSync(place.path('web.raw'), 0o644);
    const run = (...args: string[]) => ok(place, args, asUser(user));
    await run('commit', 'web.raw', '-m', `${i}`);
    await run('checkout', 'web', '-o', `out-${i}.qcow2`);
    await run('pack');
    const json = await place.start(['pack', '--json'], asUser(user === 60001 ? 60002 : 60001)).finished;
    // The sketches of one are the other's too.
    expect(JSON.parse(json.stdout).objects).toBe(0);
  }
  place.fsck();
  for (const cache of ['index', 'sketches']) {
    const folder = place.path('.imgstore/imgstore', cache);
    for (const name of readdirSync(folder))
      expect(statSync(join(folder, name)).mode & 0o660, name).toBe(0o660);
  }
});

test.runIf(isRoot)(
  'pack leaves packs and sketches alone when the sketches are closed to the user',
  async () => {
    const place = await sharedStore();
    await writeDisk(place, 'web.raw', 1, 2);
    chmodSync(place.path('web.raw'), 0o644);
    await ok(place, ['commit', 'web.raw'], asUser(60001));
    await ok(place, ['pack'], asUser(60001));
    const folder = place.path('.imgstore/imgstore/sketches');
    for (const name of readdirSync(folder)) chmodSync(join(folder, name), 0o600);
    const tables = () => readdirSync(folder).filter((name) => !name.startsWith('LOG'));
    const before = tables();
    const packs = readdirSync(place.path('.imgstore/objects/pack'));
    const again = await place.start(['pack', '--json'], asUser(60002)).finished;
    expect(again).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(again.stdout)).toMatchObject({ packs: 1, objects: 0 });
    expect(tables()).toEqual(before);
    expect(readdirSync(place.path('.imgstore/objects/pack'))).toEqual(packs);
  },
);
