import type { Command } from 'commander';
import { counted } from '../errors/index.ts';
import { packStore } from '../store/index.ts';
import { Context } from './context.ts';
import { formatBytes, formatSeconds } from './format.ts';

interface PackOptions {
  readonly aggressive?: boolean;
}

/** `imgstore pack` */
export function define(command: Command): void {
  command
    .option('--aggressive', 'pack everything anew: the best base for every object, the strongest compression')
    .addHelpText('after', '\nExample:\n  imgstore pack')
    .action(async (options: PackOptions, command: Command) => {
      const context = new Context(command);
      const result = await context.withStore((store) =>
        context.monitored('pack', (monitor) => packStore(store, options, monitor)),
      );
      context.result(result, () => {
        const { objects, deltas, storedBytesBefore, storedBytesAfter, seconds } = result;
        if (objects === 0) return 'nothing to pack\n';
        return `packed ${counted(objects, 'object')}, ${counted(deltas, 'as a delta', 'as deltas')}: ${formatBytes(storedBytesBefore)} -> ${formatBytes(storedBytesAfter)} (${formatSeconds(seconds)})\n`;
      });
    });
}
