/** A function in its executor when isolates are dropped at inconvenient moments: in this process, with real isolates. */
import t from 'tap'
import type { EndedBody } from '#base/wire/executor-protocol.ts'
import { encodeItems } from '#base/wire/items.ts'
import { guestText } from '#guest/guest-text.ts'
import { FunctionRun } from '#sandbox/executor/function-run.ts'
import { GuestScript } from '#sandbox/executor/guest-script.ts'
import { loadIsolatedVm } from '#sandbox/executor/native.ts'
import { walkRecords } from '#sandbox/executor/record-walk.ts'
import { nativeModule } from '#sandbox/executor-files.ts'
import { itemOf, specOf } from '../../fakes/sandbox-rig.ts'

const vm = loadIsolatedVm(nativeModule())
const guest = new GuestScript(guestText())

/** A FunctionRun whose word to create isolates can be withheld. */
function rig(code: string, concurrency = 1) {
  const ends: EndedBody[] = []
  let results = 0
  let wake = () => {}
  const creations = { allowed: 0, created: 0, disposed: 0 }
  const waiting: (() => void)[] = []
  let allow = true
  const run = new FunctionRun(
    {
      vm,
      guest,
      buffer: '',
      ready: () => true,
      allowCreate: () =>
        new Promise<void>(resolve => {
          creations.allowed++
          if (allow) resolve()
          else waiting.push(resolve)
        }),
      created: () => {
        creations.created++
        wake()
      },
      disposed: () => {
        creations.disposed++
      },
      catastrophe: message => t.fail(message),
      records: (_run, parts) => {
        for (const part of parts) results += walkRecords(Buffer.from(part), 0).results
      },
      ended: body => {
        ends.push(body)
        wake()
      },
    },
    specOf('f', code, { concurrency }),
  )
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds())
      await new Promise<void>(resolve => {
        wake = resolve
      })
  }
  return {
    run,
    creations,
    results: () => results,
    add(number: number, events: readonly unknown[]) {
      const items = events.map((event, n) => itemOf(n, event, { orderKey: `k${n}` }))
      run.add(
        Buffer.concat(encodeItems({ run: number, first: 0, items, last: true }, 'json', concurrency > 1)),
      )
    },
    withhold() {
      allow = false
    },
    release() {
      allow = true
      for (const resolve of waiting.splice(0)) resolve()
    },
    until,
    async end(count: number): Promise<EndedBody['end'] | undefined> {
      await until(() => ends.length >= count)
      return ends[count - 1]?.end
    },
  }
}

const spin = 'const spin = ms => { let n = 0; for (let i = 0; i < ms * 2e5; i++) n += i % 7; return n }'

t.test('a function unloaded while its isolate waits for its turn gets none', async t => {
  const { run, add, withhold, release, until, creations, end } = rig('exports.handler = () => 1')
  withhold()
  add(1, [{}])
  run.close()
  t.same(await end(1), { kind: 'returned' })
  release()
  await until(() => creations.created === 1)
  t.same(creations, { allowed: 1, created: 1, disposed: 0 }, 'the next in the queue has its turn')
  t.equal(await run.heapBytes(), 0)
})

t.test('an item that finished when its isolate was dropped counts, and charges nobody', async t => {
  const { run, add, end, results } = rig(`${spin}; exports.handler = e => spin(e.ms)`)
  add(1, [{ ms: 0 }])
  t.same(await end(1), { kind: 'done' })
  add(2, [{ ms: 1 }])
  // This thread is held up until the isolate is through; then the deadline is looked at first.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
  run.watch(performance.now())
  run.watch(performance.now() + 60_000)
  t.same(await end(2), { kind: 'returned' })
  t.equal(results(), 2)
  add(3, [{ ms: 0 }, { ms: 0 }])
  t.same(await end(3), { kind: 'done' }, 'no message pays for the isolate that is gone')
  t.equal(results(), 4)
  run.close()
})

t.test('with lanes side by side, one that waits past its deadline is the one to blame', async t => {
  const wait = 'const wait = ms => new Promise(r => setTimeout(r, ms))'
  const { run, add, end, creations } = rig(`${wait}; exports.handler = e => wait(e.ms)`, 3)
  add(1, [{ ms: 60_000 }, { ms: 5 }, { ms: 5 }, { ms: 5 }, { ms: 5 }, { ms: 5 }])
  const watch = setInterval(() => run.watch(performance.now()), 10)
  t.match(await end(1), { kind: 'timeout', index: 0 })
  add(2, [{ ms: 1 }, { ms: 1 }, { ms: 1 }, { ms: 1 }])
  t.same(await end(2), { kind: 'done' })
  clearInterval(watch)
  run.close()
  t.equal(creations.disposed, creations.created, 'every isolate that was made is dropped')
})

t.test('runs that fail while further lanes open leave no isolate behind', async t => {
  const { run, add, end, creations } = rig(
    'exports.handler = async e => { await null; if (e.bad) throw new Error() }',
    4,
  )
  for (let round = 1; round <= 30; round++) {
    const kind = round % 2 === 0 ? 'done' : 'failed'
    add(round, [{ bad: kind === 'failed' }, {}, {}, {}, {}, {}])
    t.match(await end(round), { kind })
  }
  run.close()
  await new Promise(resolve => setImmediate(resolve))
  t.equal(creations.disposed, creations.created)
})
