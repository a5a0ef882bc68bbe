import type { BucketTraffic } from '../bucket.ts';

/** {@link BucketTraffic} that is being counted. */
export interface Traffic extends BucketTraffic {
  requests: number;
  sentBytes: number;
  receivedBytes: number;
}
