import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { s3Bucket } from '../../../../remote/bucket/s3/s3-bucket.ts';

/** Of nobody, for localhost, until 2126. */
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgFzCwenauX+DBTMXt
xTWtyrPva3oVvTcapEFoWVOrArihRANCAATujEK4RXsbuoFdXPk6e6/R+evjS3sD
o36P369az5MX9/XYAp/FQPCyXfObhiHi6XsRC2d8tPZEtjJ3E0+jDeE1
-----END PRIVATE KEY-----`;
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIULT6RWtSAJp8bljHyOaGT/jl1m8owCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjA5MzM0NloYDzIxMjYxMDI5
MDkzMzQ2WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATujEK4RXsbuoFdXPk6e6/R+evjS3sDo36P369az5MX9/XYAp/FQPCy
XfObhiHi6XsRC2d8tPZEtjJ3E0+jDeE1o28wbTAdBgNVHQ4EFgQU/bY+Z42BpkgF
2UcU9mlmlMt46iUwHwYDVR0jBBgwFoAU/bY+Z42BpkgF2UcU9mlmlMt46iUwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhAMg9Dqrv2fx6IAlARbq0Qh67TFux78tT8W6nBAwhpbgtAiAl
huvnskErFJkKSTyKUESfA7a5amhSLtT0TUDcWapmEA==
-----END CERTIFICATE-----`;

let server: Server;
beforeAll(async () => {
  server = createServer({ key: KEY, cert: CERTIFICATE }, (_, response) => response.end('hello'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => void server.close());
afterEach(() => {
  delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
});

function bucket() {
  return s3Bucket({
    url: 's3://bucket',
    endpoint: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
    environment: { HOME: '/nonexistent' },
  });
}

test('openS3 says at once that nobody vouches for a certificate', async () => {
  const opened = bucket();
  await expect(opened.get('a')).rejects.toMatchObject({
    code: 'REMOTE_UNREACHABLE',
    message: expect.stringContaining('NODE_EXTRA_CA_CERTS'),
  });
  expect(opened.traffic.requests).toBe(1);
  await opened.close();
});

test('openS3 speaks TLS', async () => {
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  const opened = bucket();
  for (let i = 0; i < 3; i++) expect(Buffer.from(await opened.get('a')).toString()).toBe('hello');
  await opened.close();
});
