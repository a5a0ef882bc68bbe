import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { ImgstoreError } from '../errors/index.ts';
import { pathArgument } from './arguments.ts';
import { ExitCode, exitCodeOf } from './exit-code.ts';
import { reportError } from './report-error.ts';
import { stopOnSignals } from './signals.ts';
import { VERBS, type Verb } from './verbs.ts';

/**
 * Runs one command line to its end and returns the exit code. Results go to stdout, everything else to stderr.
 * @param argv without `node` and the script
 */
export async function runCommandLine(argv: readonly string[]): Promise<number> {
  let stop = () => {};
  let undo = () => {};
  const program = createProgram(async (verb, store) => {
    if (!verb.readsOnly) stop = stopOnSignals();
    if (verb.prepare !== undefined) undo = await verb.prepare(argv, store);
  });
  // A reader that has seen enough (`imgstore cat … | head`) is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(ExitCode.done);
    reportError(new ImgstoreError('IO', `standard output: ${error.message}`), {
      json: false,
      verbose: false,
    });
    process.exit(ExitCode.failed);
  });
  try {
    await program.parseAsync(argv, { from: 'user' });
    return Number(process.exitCode ?? ExitCode.done);
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return ExitCode.done;
    if (error instanceof CommanderError && error.code === 'commander.help') {
      // No verb was given.
      process.stdout.write(program.helpInformation());
      return ExitCode.usage;
    }
    const verb = verbOf(argv);
    const options = {
      json: argv.includes('--json'),
      verbose: argv.includes('-v') || argv.includes('--verbose'),
    };
    reportError(error, options);
    const code = exitCodeOf(error, verb === 'compare' || (verb === 'diff' && argv.includes('--exit-code')));
    // For check, 2 says that the image is corrupt.
    return verb === 'check' && code === ExitCode.usage ? ExitCode.failed : code;
  } finally {
    undo();
    stop();
  }
}

/** Global options that take a value, when it stands by itself. */
const WITH_VALUE = ['-C', '--store', '--lock-timeout'];

/** The verb of a command line, which may be one that the parser did not get as far as. */
function verbOf(argv: readonly string[]): string | undefined {
  return argv.find((text, i) => !text.startsWith('-') && !WITH_VALUE.includes(argv[i - 1] ?? ''));
}

/** @param onVerb called when it is known which verb will run, with the store as it was named */
function createProgram(onVerb: (verb: Verb, store: string | undefined) => Promise<void>): Command {
  const program = new Command('imgstore')
    .description('git for disks: keeps every version of your VM images, each cluster once')
    .version(packageVersion(), '--version', 'print the version')
    .option('-C <dir>', 'run as if started in this folder', changeFolder)
    .option(
      '--store <dir>',
      "the store, instead of the nearest '.imgstore' above (also: IMGSTORE_DIR)",
      pathArgument,
    )
    .option(
      '--lock-timeout <seconds>',
      'wait so long for what another process has locked; -1 or forever: until it is free (default: 1, for pack 0)',
    )
    .option('--json', 'print one JSON document on stdout')
    .option('-q, --quiet', 'print errors only')
    .option('-v, --verbose', 'with an error, print where in imgstore it arose')
    .option('--no-progress', 'no progress bar')
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
    // Messages of the parser are printed in one place with all others; help is not an error.
    .configureOutput({ writeErr: () => {}, outputError: () => {} });
  for (const { name, description } of VERBS) program.command(name).description(description);
  program.hook('preSubcommand', async (_program, command) => {
    const verb = VERBS.find(({ name }) => name === command.name());
    if (verb === undefined) return;
    await onVerb(verb, program.opts<{ store?: string }>().store);
    (await verb.load()).define(command);
  });
  addHelp(program);
  return program;
}

/** `imgstore help VERB`; commander's own would print what is known before the verb's file is loaded. */
function addHelp(program: Command): void {
  program
    .command('help')
    .description('print help for a verb')
    .argument('[verb]')
    .action(async (name: string | undefined) => {
      if (name === undefined) return program.outputHelp();
      const verb = VERBS.find((each) => each.name === name);
      if (verb === undefined) throw new ImgstoreError('USAGE', `no verb '${name}': see 'imgstore help'`);
      const command = program.commands.find((each) => each.name() === name)!;
      (await verb.load()).define(command);
      command.outputHelp();
    });
}

function changeFolder(folder: string): string {
  pathArgument(folder);
  try {
    process.chdir(folder);
  } catch {
    throw new CommanderError(ExitCode.usage, 'imgstore.folder', `error: -C ${folder}: no such folder`);
  }
  return folder;
}

/** From package.json, which lies one folder above `cmd/` in the sources and two above in a build. */
function packageVersion(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string })
        .version;
    } catch {
      // the other place
    }
  }
  return 'unknown';
}
