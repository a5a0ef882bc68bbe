/**
 * The story that `npm run demo` tells: two related disks go into a store by the real command line, and every byte
 * that comes out again is compared with the one that went in.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { StepFailed } from '../setup/step.mjs';
import {
  bytesOf,
  dataBytes,
  databaseServer,
  installation,
  upgraded,
  VIRTUAL_SIZE,
  writeQcow2,
} from './disks.mjs';

/** Bytes that are read and compared at a time. */
const CHUNK_BYTES = 4 * 1024 * 1024;

/**
 * Tells the story in a temporary folder, which is removed at the end.
 * @param {{ project: string, git?: string, qemuImg?: string }} stage the built project, and the paths of the programs that
 * check its work; a check is left out where its program is undefined
 * @throws StepFailed when a command fails or a byte is wrong
 */
export async function tellStory({ project, git, qemuImg }) {
  const folder = await mkdtemp(join(tmpdir(), 'imgstore-demo-'));
  try {
    await new Story(project, folder, { git, qemuImg }).tell();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

class Story {
  #main;
  #folder;
  #programs;
  #env;

  constructor(project, folder, programs) {
    this.#main = join(project, 'dist', 'cmd', 'main.js');
    this.#folder = folder;
    this.#programs = programs;
    this.#env = environment();
  }

  async tell() {
    // From the built package, as a user of the library imports it.
    const { describeImage, openImage, Qcow2Writer } = await import('imgstore/qcow2');
    const disks = { fresh: installation(), database: databaseServer(), upgraded: upgraded() };

    chapter('Two disks of one family');
    say(`Two qcow2 images of ${mebibytes(VIRTUAL_SIZE)} are made. db.qcow2 began as a copy of web.qcow2.`);
    await writeQcow2(Qcow2Writer, this.#path('web.qcow2'), disks.fresh);
    await writeQcow2(Qcow2Writer, this.#path('db.qcow2'), disks.database);
    this.#imgstore('info', 'web.qcow2');

    chapter('Both go into a store');
    this.#imgstore('init');
    this.#imgstore('commit', 'web.qcow2', '-m', 'Fresh installation');
    this.#imgstore('commit', 'db.qcow2', '--parent', 'web', '-m', 'Made into a database server');
    const { logicalBytes, uniqueBytes } = JSON.parse(this.#run('stats', '--json'));
    say(
      `The disks hold ${mebibytes(logicalBytes)} of data. ${mebibytes(logicalBytes - uniqueBytes)} of it is shared: it is stored once.`,
    );

    chapter('A second version');
    say('web.qcow2 is upgraded: some clusters change, some are new, some become zeros.');
    await writeQcow2(Qcow2Writer, this.#path('web.qcow2'), disks.upgraded);
    this.#imgstore('commit', 'web.qcow2', '-m', 'After the upgrade');
    this.#imgstore('diff', 'web~1', 'web');

    chapter('What the store knows');
    this.#imgstore('log', '--graph', '--oneline');
    this.#imgstore('images');
    this.#imgstore('stats');

    chapter('Back out of the store');
    say(
      'With --backing chain each earlier version is a file of its own, and each file holds only what changed.',
    );
    this.#imgstore('checkout', 'web', '-o', 'restored.qcow2', '--backing', 'chain');
    this.#imgstore('checkout', 'db', '-o', 'db.raw');
    const { qcow2 } = await describeImage(this.#path('restored.qcow2'));
    await this.#list(['restored.qcow2', qcow2.backingFile, 'db.raw']);

    chapter('Every byte is compared with the one that was made');
    const restored = [
      { version: 'web', file: 'restored.qcow2', disk: disks.upgraded },
      { version: 'web~1', file: qcow2.backingFile, disk: disks.fresh },
      { version: 'db', file: 'db.raw', disk: disks.database },
    ];
    for (const { version, file, disk } of restored) await this.#verify(openImage, version, file, disk);
    this.#imgstore('compare', 'web', 'restored.qcow2');
    this.#askQemu(qcow2.backingFile);
    this.#askGit();

    say('');
    const bytes = restored.length * VIRTUAL_SIZE;
    say(`Every byte was verified: ${restored.length} versions, ${bytes} bytes, no difference.`);
  }

  #path(name) {
    return join(this.#folder, name);
  }

  /** Shows a command and its output. */
  #imgstore(...args) {
    show('imgstore', args, this.#run(...args));
  }

  /** Runs the command line and returns what it printed. */
  #run(...args) {
    return this.#execute('imgstore', process.execPath, [this.#main, ...args], args);
  }

  #execute(name, program, args, shown) {
    const { status, stdout, stderr, error } = spawnSync(program, args, {
      cwd: this.#folder,
      env: this.#env,
      encoding: 'utf8',
    });
    if (error !== undefined || status !== 0) {
      throw new StepFailed(
        `${commandLine(name, shown)} failed (${error?.message ?? `exit code ${status}`}): ${stderr.trim()}${stdout.trim()}`,
      );
    }
    return stdout + stderr;
  }

  async #list(names) {
    for (const name of await readdir(this.#folder)) {
      if (!names.includes(name)) continue;
      const { size, blocks } = await stat(this.#path(name));
      say(`  ${name}: ${mebibytes(size)} long, ${mebibytes(blocks * 512)} on disk`);
    }
  }

  /** Reads a file with imgstore's own reader, backing files and all, and compares all of it with what was made. */
  async #verify(openImage, version, file, disk) {
    const { source, layers } = await openImage(this.#path(file));
    try {
      if (source.size !== VIRTUAL_SIZE)
        throw new StepFailed(`${file} has ${source.size} bytes, not ${VIRTUAL_SIZE}`);
      const found = Buffer.alloc(CHUNK_BYTES);
      for (let offset = 0; offset < VIRTUAL_SIZE; offset += CHUNK_BYTES) {
        await source.read(offset, found);
        const made = bytesOf(disk, offset, CHUNK_BYTES);
        if (found.equals(made)) continue;
        const at = found.findIndex((byte, i) => byte !== made[i]);
        throw new StepFailed(
          `${file}: byte ${offset + at} is ${found[at]}, but version ${version} has ${made[at]}`,
        );
      }
    } finally {
      await source.close();
    }
    const files = layers.length === 1 ? '1 file' : `${layers.length} files`;
    say(
      `  ${version.padEnd(6)}${file} (${files}): ${VIRTUAL_SIZE} bytes equal, ${mebibytes(dataBytes(disk))} of them data`,
    );
  }

  /** QEMU's opinion of the image files. */
  #askQemu(base) {
    const { qemuImg } = this.#programs;
    if (qemuImg === undefined) {
      say('qemu-img is not installed: its check and comparison are left out.');
      return;
    }
    for (const args of [
      ['check', base],
      ['check', 'restored.qcow2'],
      ['compare', 'web.qcow2', 'restored.qcow2'],
      ['compare', '-f', 'qcow2', '-F', 'raw', 'db.qcow2', 'db.raw'],
    ]) {
      show('qemu-img', args, this.#execute('qemu-img', qemuImg, args, args));
    }
  }

  /** git's opinion of the store, which is a repository of its own kind. */
  #askGit() {
    const { git } = this.#programs;
    if (git === undefined) {
      say('git is not installed: its check of the store is left out.');
      return;
    }
    for (const args of [
      ['-C', '.imgstore', 'fsck', '--full', '--strict'],
      ['-C', '.imgstore', 'log', '--graph', '--oneline', '--all'],
    ]) {
      show('git', args, this.#execute('git', git, args, args));
    }
  }
}

/** Variables that would send the commands of the demo to other stores and repositories. */
const FOREIGN_VARIABLES = [
  'IMGSTORE_DIR',
  'GIT_DIR',
  'GIT_WORK_TREE',
  'GIT_INDEX_FILE',
  'GIT_OBJECT_DIRECTORY',
  'GIT_ALTERNATE_OBJECT_DIRECTORIES',
];

/** The user's environment, but for what would let the demo differ from one user to the next. */
function environment() {
  const kept = Object.entries(process.env).filter(([name]) => !FOREIGN_VARIABLES.includes(name));
  return {
    ...Object.fromEntries(kept),
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_AUTHOR_NAME: 'Demo',
    GIT_AUTHOR_EMAIL: 'demo@example.org',
    GIT_COMMITTER_NAME: 'Demo',
    GIT_COMMITTER_EMAIL: 'demo@example.org',
    LC_ALL: 'C',
  };
}

function chapter(title) {
  console.log(`\n${style('bold', `── ${title} ──`)}`);
}

function say(line) {
  console.log(line);
}

function show(name, args, output) {
  console.log(style('cyan', `$ ${commandLine(name, args)}`));
  const text = output.trimEnd();
  if (text !== '') console.log(text.replace(/^(?=.)/gm, '  '));
}

/** As a user would type it. */
function commandLine(name, args) {
  return [name, ...args.map((arg) => (/^[\w.,:/=~^@-]+$/.test(arg) ? arg : `"${arg}"`))].join(' ');
}

function style(format, text) {
  return process.stdout.isTTY && !process.env.NO_COLOR ? styleText(format, text) : text;
}

function mebibytes(bytes) {
  const value = bytes / 2 ** 20;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} MiB`;
}
