import { StepFailed } from './step.mjs';

/** The oldest Node that imgstore runs on; `engines` in package.json says the same to npm. */
const OLDEST = { major: 20, minor: 19 };

/** Stops an older Node with a line that says so; without it the first sign would be a syntax error somewhere. */
export function requireNodeVersion(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > OLDEST.major || (major === OLDEST.major && minor >= OLDEST.minor)) return;
  throw new StepFailed(`Node ${version} is too old: install Node ${OLDEST.major}.${OLDEST.minor} or newer`);
}
