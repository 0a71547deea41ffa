/**
 * A revision: one bundle and one manifest under the SHA-256 of both. It never changes; deploying means
 * pointing at another.
 */
import { createHash, createHmac } from 'node:crypto'
import type { FunctionSpec } from '#sandbox/sandbox.ts'
import type { Bundle } from './bundle-cache.ts'
import type { Manifest } from './manifest.ts'

export interface Revision {
  /** SHA-256 of bundle and manifest, hex. */
  readonly id: string
  readonly manifest: Manifest
  readonly bundle: Bundle
}

export function makeRevision(manifest: Manifest, bundle: Bundle): Revision {
  const id = createHash('sha256')
    .update(`${JSON.stringify(manifest)}\n`)
    .update(bundle.code)
    .digest('hex')
  return { id, manifest, bundle }
}

/** What the sandbox loads. `deviceSecret` keeps seeds private: invocation ids are public. */
export function specOf(name: string, { id, manifest, bundle }: Revision, deviceSecret: string): FunctionSpec {
  return {
    name,
    revision: id,
    code: bundle.code,
    handler: manifest.handler,
    timeoutMs: manifest.timeoutMs,
    memoryMiB: manifest.memoryMiB,
    idleMs: manifest.idleMs,
    concurrency: manifest.concurrency,
    environment: manifest.environment,
    payload: manifest.payload,
    timeZone: manifest.timeZone,
    publish: manifest.publish,
    isolation: manifest.isolation,
    seedKey: createHmac('sha256', deviceSecret).update(name).digest('hex'),
    allow: manifest.allow,
  }
}
