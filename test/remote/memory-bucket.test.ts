import { bucketConformance } from './bucket-conformance.ts';
import { MemoryBucket } from './memory-bucket.ts';

bucketConformance('MemoryBucket', async () => new MemoryBucket());
