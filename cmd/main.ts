#!/usr/bin/env node
import { optimizeLate } from './optimizing.ts';
import { runCommandLine } from './run.ts';

optimizeLate();
process.exitCode = await runCommandLine(process.argv.slice(2));
