import { type Command, InvalidArgumentError } from 'commander';
import type { RemoteSettings } from '../store/index.ts';
import { absolutePathArgument } from './arguments.ts';

/** Adds the options that say how an S3 remote is reached and encrypted. */
export function addRemoteOptions(command: Command): void {
  command
    .option('--endpoint <url>', 'for s3://: the server, where it is not AWS', endpointArgument)
    .option('--region <name>', 'for s3://: the region')
    .option('--path-style', "for s3://: the bucket stands in the URL's path, not in the name of the host")
    .option('--profile <name>', "for s3://: the part of AWS's credentials file")
    .option(
      '--recipients <file>',
      'for s3://: encrypt for the age recipients in this file',
      absolutePathArgument,
    )
    .option(
      '--identity <file>',
      'for s3://: decrypt by the age identities in this file',
      absolutePathArgument,
    );
}

/** Of the options of a verb, those. */
export function remoteSettings(options: RemoteSettings): RemoteSettings {
  const { endpoint, region, pathStyle, profile, recipients, identity } = options;
  return { endpoint, region, pathStyle, profile, recipients, identity };
}

function endpointArgument(text: string): string {
  if (!/^https?:\/\/[^/]/.test(text))
    throw new InvalidArgumentError(`'${text}' is not a URL: write https://HOST`);
  return text;
}
