import { ImgstoreError } from '../../../errors/index.ts';
import { type ProfileSettings, readProfile } from './aws-files.ts';
import { isHostName, parseS3Url, type S3Place } from './names.ts';
import type { Environment, S3Credentials, S3Options } from './options.ts';

/** For servers of other makers, which have but one region and mostly call it so. */
const DEFAULT_REGION = 'us-east-1';

/** Settings of a profile whose credentials a server or another program gives out. */
const ELSEWHERE = /^(role_arn|sso_session|sso_start_url|credential_process|web_identity_token_file)$/;

/** Everything that a request needs to know about the bucket. */
export interface S3Settings extends S3Place {
  readonly region: string;
  readonly credentials: S3Credentials;
  /** URL of the bucket, without a slash at its end. */
  readonly base: string;
}

/**
 * Finds out where the bucket is and as whom to ask: by the options, else by the variables that the AWS tools know, else by their files.
 * @throws ImgstoreError `USAGE`, `BAD_NAME`, `REMOTE_DENIED` when there are no credentials, `IO`
 */
export function resolveSettings(options: S3Options): S3Settings {
  const place = parseS3Url(options.url);
  const environment = options.environment ?? process.env;
  const chosen = options.profile ?? (environment.AWS_PROFILE || undefined);
  const found = readProfile(chosen ?? 'default', environment);
  if (found === undefined && chosen !== undefined)
    throw new ImgstoreError(
      'USAGE',
      `${place.where}: the files of the AWS tools have no profile ${chosen}: set it up in ~/.aws/credentials, or name another by --profile or AWS_PROFILE`,
    );
  const profile = found ?? {};
  const given = options.endpoint ?? endpointOf(environment, profile);
  const region = options.region ?? regionOf(environment, profile) ?? (given && DEFAULT_REGION);
  if (region === undefined || !/^[A-Za-z0-9-]+$/.test(region))
    throw new ImgstoreError(
      'USAGE',
      `${place.where}: ${region === undefined ? 'no region is set' : 'the region is no name of one'}: set it by --region or AWS_REGION, or the server by --endpoint or AWS_ENDPOINT_URL_S3`,
    );
  const pathStyle = options.pathStyle ?? pathStyleOf(profile) ?? given !== undefined;
  const server = parseEndpoint(given ?? awsEndpoint(region), place.where);
  return {
    ...place,
    region,
    credentials: credentialsOf(options, environment, profile, place.where),
    base: bucketUrl(server, place.bucket, pathStyle || !isHostName(place.bucket)),
  };
}

function endpointOf(environment: Environment, profile: ProfileSettings): string | undefined {
  return environment.AWS_ENDPOINT_URL_S3 || environment.AWS_ENDPOINT_URL || profile.endpoint_url || undefined;
}

function regionOf(environment: Environment, profile: ProfileSettings): string | undefined {
  return environment.AWS_REGION || environment.AWS_DEFAULT_REGION || profile.region || undefined;
}

function pathStyleOf(profile: ProfileSettings): boolean | undefined {
  if (profile.addressing_style === 'path') return true;
  return profile.addressing_style === 'virtual' ? false : undefined;
}

function awsEndpoint(region: string): string {
  return `https://s3.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}

function parseEndpoint(endpoint: string, where: string): URL {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const isPlain = url !== undefined && url.username === '' && url.password === '';
  if (isPlain && /^https?:$/.test(url.protocol) && url.search === '' && url.hash === '') return url;
  // What stands there may have a password in it.
  throw new ImgstoreError(
    'USAGE',
    `${where}: the endpoint is no URL of a server: write https://s3.example.org, without credentials or a query`,
  );
}

function bucketUrl(server: URL, bucket: string, pathStyle: boolean): string {
  const path = server.pathname.replace(/\/+$/, '');
  return pathStyle
    ? `${server.protocol}//${server.host}${path}/${bucket}`
    : `${server.protocol}//${bucket}.${server.host}${path}`;
}

/** A profile that was asked for by name goes before the variables of the environment, as in the AWS tools; one that AWS_PROFILE names does not. */
function credentialsOf(
  options: S3Options,
  environment: Environment,
  profile: ProfileSettings,
  where: string,
): S3Credentials {
  const fromEnvironment = asCredentials(
    environment.AWS_ACCESS_KEY_ID,
    environment.AWS_SECRET_ACCESS_KEY,
    environment.AWS_SESSION_TOKEN,
  );
  const fromProfile = asCredentials(
    profile.aws_access_key_id,
    profile.aws_secret_access_key,
    profile.aws_session_token,
  );
  const found =
    options.credentials ??
    (options.profile === undefined ? (fromEnvironment ?? fromProfile) : (fromProfile ?? fromEnvironment));
  if (found !== undefined) {
    refuseUnsendable(found, where);
    return found;
  }
  const elsewhere = Object.keys(profile).find((key) => ELSEWHERE.test(key));
  if (elsewhere !== undefined)
    throw new ImgstoreError(
      'REMOTE_DENIED',
      `${where}: no credentials: the profile gets them by ${elsewhere}, which imgstore does not do: run eval "$(aws configure export-credentials --format env)" first`,
    );
  throw new ImgstoreError(
    'REMOTE_DENIED',
    `${where}: no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to ~/.aws/credentials and name the profile by --profile or AWS_PROFILE`,
  );
}

/** They go into headers, whose own complaint would show them. */
function refuseUnsendable(credentials: S3Credentials, where: string): void {
  const parts = [credentials.accessKeyId, credentials.sessionToken ?? ''];
  if (parts.every((part) => /^[\x21-\x7e]*$/.test(part))) return;
  throw new ImgstoreError(
    'REMOTE_DENIED',
    `${where}: the access key or the session token has characters that none has: set AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN anew`,
  );
}

function asCredentials(
  accessKeyId: string | undefined,
  secretAccessKey: string | undefined,
  sessionToken: string | undefined,
): S3Credentials | undefined {
  return accessKeyId && secretAccessKey
    ? { accessKeyId, secretAccessKey, sessionToken: sessionToken || undefined }
    : undefined;
}
