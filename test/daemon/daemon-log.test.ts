/** The log's memory: bounded, by level, and what a function says cannot push out what the daemon said. */
import t from 'tap'
import type { LogEntry } from '#api/backend.ts'
import type { Logger } from '#base/logger.ts'
import { DaemonLog, functionLogBytesMax, functionLogLinesMax } from '#daemon/daemon-log.ts'
import { LogRing } from '#daemon/log-ring.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

function logOver(level: LogEntry['level'] = 'info') {
  const written: unknown[][] = []
  const under = (bindings: object): Logger => {
    const write =
      (name: string) =>
      (fields: object, message = '') =>
        written.push([name, { ...bindings, ...fields }, message])
    return {
      debug: write('debug'),
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
      child: more => under({ ...bindings, ...more }),
    }
  }
  return { log: DaemonLog.over(under({}), new ManualClock(5_000), level), written }
}

const all = { limit: 100_000 }

t.test('a line has time, level, part, function and invocation; the rest are fields', async t => {
  const { log, written } = logOver()
  const invoker = log.child({ part: 'invoker' }).child({ function: 'f' })
  invoker.warn({ invocationId: 'i-1' }, 'hot')
  invoker.error({ err: Object.assign(new Error('no'), { code: 'EIO' }), gone: undefined, big: 1n }, 'failed')
  t.match(log.recent(all), [
    {
      seq: 1,
      time: 5_000,
      level: 'warn',
      part: 'invoker',
      function: 'f',
      invocationId: 'i-1',
      message: 'hot',
    },
    {
      seq: 2,
      level: 'error',
      fields: { err: { code: 'EIO', message: 'no', stack: /^Error: no/ }, big: '1' },
    },
  ])
  t.notOk('gone' in (log.recent(all)[1]?.fields ?? {}))
  t.equal(written.length, 2, 'and it was written')
  t.match(written[0], ['warn', { part: 'invoker', function: 'f', invocationId: 'i-1' }, 'hot'])
})

t.test('the level counts for all children at once, and can change', async t => {
  const { log, written } = logOver('warn')
  const child = log.child({ part: 'store' })
  child.info({}, 'no')
  log.level = 'debug'
  child.debug({}, 'yes')
  log.level = 'error'
  child.warn({}, 'no')
  t.same(
    log.recent(all).map(({ message }) => message),
    ['yes'],
  )
  t.equal(written.length, 1)
})

t.test('queries: function, level, since, after, and the newest of them', async t => {
  const { log } = logOver('debug')
  for (let n = 0; n < 10; n++) {
    log.child({ function: n % 2 === 0 ? 'even' : 'odd' }).info({ invocationId: `i${n}` }, String(n))
    log.warn({}, `daemon ${n}`)
  }
  const said = (query: object) => log.recent({ ...all, ...query }).map(({ message }) => message)
  t.same(said({ function: 'odd' }), ['1', '3', '5', '7', '9'])
  t.same(said({ level: 'warn', limit: 2 }), ['daemon 8', 'daemon 9'])
  t.same(said({ limit: 3 }), ['daemon 8', '9', 'daemon 9'], 'of both, in the order they came')
  t.same(said({ after: 18 }), ['9', 'daemon 9'])
  t.same(said({ since: 5_001 }), [])
})

t.test(
  'D6: the rings are bounded in lines and bytes, and a loud function leaves the daemon its lines',
  async t => {
    const { log } = logOver()
    log.error({}, 'the disk is full')
    const loud = log.child({ function: 'loud' })
    for (let n = 0; n < functionLogLinesMax + 500; n++) loud.info({ invocationId: 'i' }, `short ${n}`)
    const kept = log.recent(all)
    t.equal(kept.length, functionLogLinesMax + 1)
    t.equal(kept[0]?.message, 'the disk is full')
    t.equal(kept.at(-1)?.message, `short ${functionLogLinesMax + 499}`)
    for (let n = 0; n < 500; n++) loud.info({ invocationId: 'i' }, `${n} ${'x'.repeat(8_000)}`)
    const bytes = log
      .recent({ ...all, function: 'loud' })
      .reduce((sum, each) => sum + 2 * each.message.length, 0)
    t.ok(bytes <= functionLogBytesMax, `${bytes} bytes`)
    log.info({}, 'y'.repeat(100_000))
    t.ok((log.recent(all).at(-1)?.message.length ?? 0) < 10_000, 'a line is cut')
  },
)

t.test('a ring keeps at least its newest line, and forgets in order', async t => {
  const ring = new LogRing({ linesMax: 3, bytesMax: 100 })
  const entry = (seq: number): LogEntry => ({ seq, time: seq, level: 'info', message: '' })
  for (let seq = 1; seq <= 10; seq++) ring.add(entry(seq), 10)
  t.same(
    ring.read(all).map(({ seq }) => seq),
    [8, 9, 10],
  )
  ring.add(entry(11), 1_000)
  t.same(
    ring.read(all).map(({ seq }) => seq),
    [11],
  )
  t.equal(ring.lines, 1)
  t.equal(ring.bytes, 1_000)
})

t.test('a follower gets what it has not seen, then each new line that it asks for', async t => {
  const { log } = logOver()
  log.info({}, 'one')
  log.info({}, 'two')
  const got: string[] = []
  const stop = log.follow({ ...all, after: 1, level: 'info' }, ({ message }) => got.push(message))
  log.warn({}, 'three')
  stop()
  log.warn({}, 'four')
  t.same(got, ['two', 'three'])
  const fresh: string[] = []
  log.follow(all, ({ message }) => fresh.push(message))
  log.info({}, 'five')
  t.same(fresh, ['five'], 'without "after" only what is new')
})

t.test('what cannot be shown does not throw', async t => {
  const { log } = logOver()
  const circle: Record<string, unknown> = {}
  circle.self = circle
  log.info({ circle, symbol: Symbol('s'), huge: { text: 'z'.repeat(50_000) } }, 'odd')
  t.equal(log.recent(all).length, 1)
})
