/** A disk that fills up and has room again: nothing acknowledged is lost, and it goes on by itself. Needs root. */
import { execFileSync } from 'node:child_process'
import { mkdtempDisposable, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { type Clock, systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { Health } from '#store/health.ts'
import { openStore, type StoreOptions } from '#store/open.ts'
import type { Store, StoreHealth } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { all, record } from '../conformance/store-suite.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

const clock: Clock = {
  ...systemClock,
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
}

function obstacle(): string | false {
  return process.getuid?.() === 0 ? false : 'mounting a tmpfs needs root'
}

interface SmallDisk extends AsyncDisposable {
  readonly path: string
}

async function mountSmall(megabytes: number): Promise<SmallDisk> {
  const dir = await mkdtempDisposable(join(tmpdir(), 'fescue-small-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', dir.path])
  return {
    path: dir.path,
    async [Symbol.asyncDispose]() {
      execFileSync('umount', [dir.path])
      await dir.remove()
    },
  }
}

const untilHealth = (store: Store, state: StoreHealth['state']): Promise<StoreHealth> =>
  new Promise(resolve => {
    if (store.health.state === state) return resolve(store.health)
    const forget = store.onHealth(health => {
      if (health.state !== state) return
      forget()
      resolve(health)
    })
  })

t.test(
  'below the floor the store does not accept; above it, it does again',
  { skip: obstacle() },
  async t => {
    await using disk = await mountSmall(24)
    const turned = new ManualClock()
    const health = new Health({
      folder: disk.path,
      freeDiskMinBytes: 10 * 1024 * 1024,
      clock: turned,
      logger: silentLogger,
    })
    await health.watch()
    t.match(health.current, { state: 'ok' })
    await writeFile(join(disk.path, 'ballast'), Buffer.alloc(16 * 1024 * 1024))
    const full = new Promise<StoreHealth>(resolve => health.onChange(resolve))
    turned.advance(5_000)
    t.match(await full, { state: 'degraded', reason: 'disk-full', since: turned.now() })
    t.equal(health.failing, false, 'a write still works')
    await rm(join(disk.path, 'ballast'))
    await new Promise(resolve => setImmediate(resolve))
    const ok = new Promise<StoreHealth>(resolve => health.onChange(resolve))
    turned.advance(5_000)
    t.match(await ok, { state: 'ok' })
    health.close()
  },
)

for (const journal of [true, false]) {
  t.test(
    `a full disk holds commits back and loses none, ${journal ? 'with' : 'without'} the journal`,
    {
      skip: obstacle(),
    },
    async t => {
      await using disk = await mountSmall(24)
      const options: StoreOptions = {
        folder: join(disk.path, 'data'),
        clock,
        logger: silentLogger,
        freeDiskMinBytes: 0,
        tailCacheMaxBytes: 0,
        journal,
        writeBufferBytes: 1024 * 1024,
        journalSegmentBytes: 1024 * 1024,
      }
      const store = await openStore(options)
      const log = store.log('a', { maxBytes: 1e9, overflow: 'block' })
      let acknowledged = 0
      const write = () => {
        const tx = new Transaction().require('power')
        tx.append(log, record(String(acknowledged + 1).padEnd(500, '.')))
        store.commit(tx, error => {
          if (error === undefined) acknowledged += 1
        })
      }
      await writeFile(join(disk.path, 'ballast'), Buffer.alloc(30 * 1024 * 1024)).catch(() => {})
      const failing = untilHealth(store, 'degraded')
      const timer = setInterval(write, 1)
      t.match(await failing, { state: 'degraded', reason: 'disk-full' })
      t.equal(store.accepting, false)
      const before = acknowledged
      await new Promise(resolve => setTimeout(resolve, 100))
      t.ok(acknowledged <= before + 1, 'nothing is acknowledged while it is full')
      await rm(join(disk.path, 'ballast'))
      await untilHealth(store, 'ok')
      // Slow traffic after the fault is what LevelDB 1.20 loses when it goes on without being opened again.
      await new Promise(resolve => setTimeout(resolve, 300))
      clearInterval(timer)
      await store.sync()
      const total = log.end
      t.equal(acknowledged, total)
      // A killed process: the database as it lies there, copied away.
      execFileSync('cp', ['-r', options.folder ?? '', join(disk.path, 'killed')])
      await store[Symbol.asyncDispose]()
      await using again = await openStore({ ...options, folder: join(disk.path, 'killed') })
      const found = again.findLog('a')
      let count = 0
      for (let at = 0; found !== undefined && at < found.end; ) {
        const result = await found.read(at, all)
        t.same(result.lost, [])
        count += result.records.length
        at = result.next
      }
      t.equal(count, total, `${count} of ${total}`)
    },
  )
}
