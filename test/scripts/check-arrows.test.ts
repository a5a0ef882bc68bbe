import { expect, test } from 'vitest';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { runScript, writeTree } from './project-script.ts';

/** What check-arrows prints about a tree, without its last line, which only counts. */
async function problemsOf(tree: Readonly<Record<string, string>>): Promise<string[]> {
  const root = await temporaryFolder();
  writeTree(root, tree);
  const { status, lines } = runScript('check-arrows.mjs', root);
  expect(status).toBe(lines.length === 0 ? 0 : 1);
  return lines.slice(0, -1);
}

test('check-arrows passes when imports follow the arrows', async () => {
  expect(
    await problemsOf({
      'errors/index.ts': 'export class E {}\n',
      'block/index.ts': "export { raw } from './raw.ts';\n",
      'block/raw.ts': "import { E } from '../errors/index.ts';\nexport const raw = E;\nimport('koffi');\n",
      'store/index.ts': "import { level } from 'level';\nnew URL('../package.json', import.meta.url);\n",
      'store/pool.ts': "import.meta.resolve('#store-worker');\nimport '../block/index.ts';\n",
      'test/block/raw.test.ts': "import '../../block/raw.ts';\nimport '../../cmd/main.ts';\n",
      'node_modules/x/index.ts': "import '../../store/index.ts';\n",
    }),
  ).toEqual([]);
});

test('check-arrows names file, line and rule when an import goes against an arrow', async () => {
  expect(
    await problemsOf({
      'errors/index.ts': "// first line\nimport { isZero } from '../block/index.ts';\n",
      'objects/index.ts': "export {};\nexport type { Pack } from '../pack/index.ts';\n",
      'pack/index.ts': "export type Pack = 1;\nlet s: import('../store/index.ts').Store;\n",
      'qcow2/index.ts': "const x =\n  await import(\n    '../store/index.ts');\n",
      'cmd/main.ts': "import '../pack/index.ts';\n",
      'store/index.ts': "new Worker(new URL('../cmd/main.js', import.meta.url));\nimport '../test/x.ts';\n",
    }),
  ).toEqual([
    'cmd/main.ts:1: cmd/ must not import pack/: it may import only errors, block, qcow2, store',
    'errors/index.ts:2: errors/ must not import block/: it may import no folder',
    'objects/index.ts:2: objects/ must not import pack/: it may import only errors, files',
    'pack/index.ts:2: pack/ must not import store/: it may import only errors, files, objects',
    'qcow2/index.ts:2: qcow2/ must not import store/: it may import only errors, files, block',
    expect.stringMatching(/^store\/index\.ts:1: store\/ must not import cmd\//),
    expect.stringMatching(/^store\/index\.ts:2: store\/ must not import test\//),
    expect.stringContaining('files import each other in a circle'),
    expect.stringContaining('folders import each other in a circle'),
  ]);
});

test('check-arrows complains when a folder is entered beside its index.ts', async () => {
  expect(
    await problemsOf({
      'block/raw.ts': 'export {};\n',
      'qcow2/meta/index.ts': "import '../../block/raw.ts';\n",
      'store/index.ts': "import '../qcow2/meta/index.ts';\n",
    }),
  ).toEqual([
    'qcow2/meta/index.ts:1: block/ is imported from outside only through its index.ts',
    'store/index.ts:1: qcow2/ is imported from outside only through its index.ts',
  ]);
});

test('check-arrows complains when a package is imported by a folder that does not own it', async () => {
  expect(
    await problemsOf({
      'pack/index.ts': "import { sha256 } from '@noble/hashes/sha2.js';\n",
      'store/index.ts': "import 'commander';\n",
      'cmd/main.ts': "import 'level';\nimport { deflate } from 'pako';\nimport 'imgstore/block';\n",
      'qcow2/index.ts':
        "import { createRequire } from 'node:module';\ncreateRequire(import.meta.url)('koffi');\n" +
        "import { spawn } from 'node:child_process';\nconst cp = require('child_process');\n",
    }),
  ).toEqual([
    'cmd/main.ts:1: cmd/ must not import level: only store may',
    'cmd/main.ts:2: cmd/ must not import pako: only objects may',
    'cmd/main.ts:3: the project imports its own folders by relative path',
    'pack/index.ts:1: pack/ must not import @noble/hashes: only objects, qcow2 may',
    'qcow2/index.ts:2: qcow2/ must not import koffi: only block, objects may',
    'qcow2/index.ts:3: qcow2/ must not import node:child_process',
    'qcow2/index.ts:4: qcow2/ must not import node:child_process',
    'store/index.ts:1: store/ must not import commander: only cmd may',
  ]);
});

test('check-arrows finds circles of files and of folders', async () => {
  const problems = await problemsOf({
    'pack/a.ts': "import './b.ts';\n",
    'pack/b.ts': "\nexport * from './c.ts';\n",
    'pack/c.ts': "import type { A } from './a.ts';\n",
    'block/index.ts': "import '../qcow2/index.ts';\n",
    'qcow2/index.ts': "import './check.ts';\n",
    'qcow2/check.ts': "import '../block/index.ts';\n",
  });
  expect(problems).toContain(
    'pack/c.ts:1: files import each other in a circle: pack/a.ts → pack/b.ts → pack/c.ts → pack/a.ts',
  );
  expect(problems).toContain(
    'qcow2/check.ts:1: folders import each other in a circle: block → qcow2 → block',
  );
});

test('check-arrows does not count imports in comments and strings', async () => {
  expect(
    await problemsOf({
      'errors/index.ts':
        "// import '../store/index.ts'\n/* import('../store/index.ts') */\n" +
        "const s = \"import '../store/index.ts'\"; const t = `import('../store/index.ts')`;\n" +
        "const r = /'/; const u = 'é' + \"don't\";\n",
    }),
  ).toEqual([]);
});

test('check-arrows asks for a row when a folder is new', async () => {
  expect(await problemsOf({ 'cloud/index.ts': 'export {};\n' })).toEqual([
    'cloud/index.ts:1: cloud/ has no row in scripts/arrows/rules.mjs: say there what it may import',
  ]);
});
