import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { decode } from 'ini';
import { fromSystem, systemCode } from '../../../errors/index.ts';
import type { Environment } from './options.ts';

/** What the files of the AWS tools say about a profile. */
export type ProfileSettings = Readonly<Record<string, string>>;

/**
 * Reads a profile out of `~/.aws/config` and `~/.aws/credentials`, or where `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE` say. What the
 * credentials say wins, as in the AWS tools.
 * @returns undefined when neither has the profile
 * @throws ImgstoreError `IO` for a file that cannot be read; one that is not there is empty
 */
export function readProfile(profile: string, environment: Environment): ProfileSettings | undefined {
  const home = environment.HOME || homedir();
  const credentials = readIni(
    environment.AWS_SHARED_CREDENTIALS_FILE || join(home, '.aws/credentials'),
    home,
  ).get(profile);
  const sections = readIni(environment.AWS_CONFIG_FILE || join(home, '.aws/config'), home);
  const config = sections.get(profile === 'default' ? 'default' : `profile ${profile}`);
  // The form that the default profile may have too.
  const named = profile === 'default' ? sections.get('profile default') : undefined;
  if (credentials === undefined && config === undefined && named === undefined) return undefined;
  return { ...named, ...config, ...credentials };
}

function readIni(path: string, home: string): Map<string, ProfileSettings> {
  try {
    return parseAwsFile(readFileSync(path.replace(/^~(?=\/)/, home), 'utf8'));
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return new Map();
    throw fromSystem(error, path);
  }
}

/**
 * The sections of a file of the AWS tools. Each section is parsed by itself: the parser would take a dot in a profile's name for a part of another
 * section. Settings that belong to a service are indented below its name there, and stand in the section itself here: `addressing_style` of `s3 =`.
 */
export function parseAwsFile(text: string): Map<string, ProfileSettings> {
  const sections = new Map<string, ProfileSettings>();
  for (const part of text.split(/^(?=[ \t]*\[)/m)) {
    const [, name, body] = /^[ \t]*\[([^\]\n]*)\][^\n]*\n?(.*)$/s.exec(part) ?? [];
    if (name === undefined || body === undefined) continue;
    // A comment begins behind a space in these files; the parser would cut a secret at any of the two characters.
    const settings = Object.entries(decode(body.replace(/(?<=\S)[;#]/g, '\\$&')))
      .filter((entry): entry is [string, string] => typeof entry[1] === 'string')
      .map(([key, value]) => [key.trim(), value.trim()] as const);
    const key = name.trim().replace(/\s+/g, ' ');
    sections.set(key, { ...sections.get(key), ...Object.fromEntries(settings) });
  }
  return sections;
}
