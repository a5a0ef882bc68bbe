import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/property-seed.ts'],
    // Processes, not threads: tests load native code and change umask, working directory and signals.
    pool: 'forks',
    maxWorkers: 2,
    // A test that hangs must end, and one that runs beside other work on a slow machine must not.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ['default', './test/plain-line-reporter.ts'],
    coverage: {
      provider: 'v8',
      include: ['{errors,block,files,objects,pack,qcow2,nbd,remote,store,cmd}/**/*.ts'],
      exclude: ['test/**'],
      reporter: ['text', 'html'],
    },
  },
});
