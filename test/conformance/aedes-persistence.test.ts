/**
 * aedes-persistence's own published suite, unchanged, against our persistence on LevelDB and in memory. It is
 * written for node:test; the adapter below lets tap count each case, with node:assert's own comparisons.
 */
import assert from 'node:assert'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { FullPersistence } from '#broker/full-persistence.ts'
import { openSessions } from '#broker/session-store.ts'
import { Wills } from '#broker/wills.ts'
import { Retained } from '#router/retained.ts'
import { Router } from '#router/router.ts'
import { openStore } from '#store/open.ts'

type Case = (context: ReturnType<typeof adapted>) => Promise<void>
interface SuiteOptions {
  test(name: string, run: Case): unknown
  persistence(): Promise<FullPersistence>
  testAsync: boolean
}
const suite: (options: SuiteOptions) => void = createRequire(import.meta.url)('aedes-persistence/abstract.js')

function adapted(t: Test) {
  const checked =
    <Args extends unknown[]>(check: (...args: [...Args, string]) => void) =>
    (...args: [...Args, string]) => {
      try {
        check(...args)
        t.pass(args.at(-1) as string)
      } catch (error) {
        t.fail(args.at(-1) as string, { found: error })
      }
    }
  return {
    plan: (count: number) => t.plan(count),
    diagnostic: (text: string) => t.comment(text),
    assert: {
      ok: checked<[unknown]>(assert.ok),
      equal: checked<[unknown, unknown]>(assert.equal),
      notEqual: checked<[unknown, unknown]>(assert.notEqual),
      deepEqual: checked<[unknown, unknown]>(assert.deepEqual),
    },
  }
}

async function open(folder: string | undefined): Promise<FullPersistence> {
  const clock = systemClock
  const logger = silentLogger
  const store = await openStore({ folder, clock, logger })
  const retained = await Retained.open(store)
  const router = new Router({ store, retained, clock, durability: [], blockMs: 1_000 })
  const sessions = await openSessions({ store, router, clock, logger })
  const wills = await Wills.open({ store, router, clock, logger })
  const persistence = new FullPersistence({ store, retained, sessions, wills, clock })
  const destroy = persistence.destroy.bind(persistence)
  persistence.destroy = async () => {
    await destroy()
    await wills[Symbol.asyncDispose]()
    await sessions[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
    if (folder !== undefined) await rm(folder, { recursive: true })
  }
  return persistence
}

const folders = {
  memory: () => Promise.resolve(undefined),
  LevelDB: () => mkdtemp(join(tmpdir(), 'fescue-persistence-')),
}

for (const [name, folder] of Object.entries(folders)) {
  t.test(`aedes-persistence's suite on ${name}`, async t => {
    suite({
      test: (title, run) => t.test(title, async t => run(adapted(t))),
      persistence: async () => open(await folder()),
      testAsync: true,
    })
  })
}
