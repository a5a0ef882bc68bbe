#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { runCommandLine } from './run.ts';

// Bytes of bytecode that a function runs before V8 optimizes it, 67584 by default. Most verbs are done after a second or two, and native code does most of their work: with the default, the
// compiler took 0.2 s of the 1.2 s of processor time of committing 712 MiB of known bytes. What runs long is still optimized. Node 20 only: later ones count otherwise, and compile in two steps.
if (process.versions.v8.startsWith('11.')) setFlagsFromString('--interrupt-budget=1000000');

process.exitCode = await runCommandLine(process.argv.slice(2));
