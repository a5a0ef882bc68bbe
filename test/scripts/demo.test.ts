import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { scriptPath } from './project-script.ts';

const { PROJECT } = (await import(pathToFileURL(scriptPath('setup/project.mjs')).href)) as {
  PROJECT: string;
};
const { findCommand } = (await import(pathToFileURL(scriptPath('setup/find-command.mjs')).href)) as {
  findCommand: (name: string) => string | undefined;
};

/** Tells the story over the build that is there: `npm run demo` would make it anew under other tests. */
function tellStory(witnesses: { readonly git?: string | undefined; readonly qemuImg?: string | undefined }) {
  const stage = JSON.stringify({ project: PROJECT, ...witnesses });
  const story = pathToFileURL(scriptPath('demo/story.mjs')).href;
  const program = `import { tellStory } from ${JSON.stringify(story)};\nawait tellStory(${stage});\n`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
  });
  return { status, lines: stdout.trimEnd().split('\n'), stderr };
}

const LAST_LINE = 'Every byte was verified: 3 versions, 201326592 bytes, no difference.';

test('the demo verifies every byte, and git and qemu-img agree where they are installed', () => {
  const witnesses = { git: findCommand('git'), qemuImg: findCommand('qemu-img') };
  const { status, lines, stderr } = tellStory(witnesses);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(lines.at(-1)).toBe(LAST_LINE);
  expect(lines.includes('$ git -C .imgstore fsck --full --strict')).toBe(witnesses.git !== undefined);
  expect(lines.includes('$ qemu-img check restored.qcow2')).toBe(witnesses.qemuImg !== undefined);
});

test('the demo says which checks it leaves out on a machine without git and qemu-img', () => {
  const { status, lines, stderr } = tellStory({});
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(lines).toContain('git is not installed: its check of the store is left out.');
  expect(lines).toContain('qemu-img is not installed: its check and comparison are left out.');
  expect(lines.at(-1)).toBe(LAST_LINE);
});
