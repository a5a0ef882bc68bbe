import { expect } from 'vitest';

/** An object id, in a comparison. */
export const ID = expect.stringMatching(/^[0-9a-f]{64}$/) as string;
export const DATE = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$/) as string;
export const NUMBER = expect.any(Number) as number;
export const TEXT = expect.any(String) as string;
export const PERSON = { name: TEXT, email: TEXT, date: DATE };
