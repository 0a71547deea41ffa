/** The archive on a disk that fails: nothing is answered that is not kept, nothing is seen that is not on disk. */
import { Level } from 'level'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { Archive } from '#cloud/archive.ts'
import type { IncomingEvent } from '#cloud/event.ts'
import { temporary } from '../fakes/uplink-rig.ts'

/** A database whose writes or opening fail while told so. */
class FailingLevel extends Level<string, string> {
  static failing: 'none' | 'writes' | 'opens' = 'none'
  static opened = 0

  override batch(...args: Parameters<Level<string, string>['batch']>): never {
    if (FailingLevel.failing !== 'none') return Promise.reject(new Error('no space left on device')) as never
    return super.batch(...args) as never
  }

  override open(options = {}): Promise<void> {
    FailingLevel.opened += 1
    if (FailingLevel.failing === 'opens') return Promise.reject(new Error('input/output error'))
    return super.open(options)
  }
}

function events(from: number, to: number): IncomingEvent[] {
  return Array.from({ length: to - from }, (_, i) => ({
    device: 'pi',
    epoch: 'e1',
    log: 'l.1',
    offset: from + i,
    text: `{"n":${from + i}}`,
    messageId: undefined,
    base: undefined,
    after: undefined,
    loss: undefined,
  }))
}

async function linesOf(archive: Archive): Promise<string[]> {
  const lines: string[] = []
  for await (const block of archive.records('pi', -1, 1_000)) lines.push(...block)
  return lines
}

t.test('after a failed write the database is opened anew and the records come again', async t => {
  await using dir = await temporary()
  await using archive = await Archive.open(
    dir.path,
    systemClock,
    silentLogger,
    folder => new FailingLevel(folder),
  )
  t.same(await archive.ingest('pi', events(0, 3), 10), { stored: 3, duplicates: 0 })
  const view = () => archive.read(devices => devices.get('pi')?.view())

  for (const failing of ['writes', 'opens'] as const) {
    FailingLevel.failing = failing
    const opened = FailingLevel.opened
    await t.rejects(archive.ingest('pi', events(3, 6), 10), { code: 'FESCUE_STORE_FAILED' })
    t.ok(FailingLevel.opened > opened, 'it was opened anew')
    if (failing === 'opens')
      await t.rejects(view(), { code: 'FESCUE_STORE_FAILED' }, 'nothing is told meanwhile')
    FailingLevel.failing = 'none'
    t.match(await view(), { records: 3, logs: [{ next: 3 }] }, 'what was not written is not told')
  }

  t.same(await archive.ingest('pi', events(2, 6), 10), { stored: 3, duplicates: 1 })
  t.same(
    await linesOf(archive),
    Array.from({ length: 6 }, (_, n) => `{"n":${n},"index":${n}}`),
  )
})

t.test('a closed archive takes and tells nothing', async t => {
  await using dir = await temporary()
  const archive = await Archive.open(dir.path, systemClock, silentLogger)
  await archive[Symbol.asyncDispose]()
  await t.rejects(archive.ingest('pi', events(0, 1), 1), { code: 'FESCUE_STOPPING' })
  await t.rejects(
    archive.read(() => 1),
    { code: 'FESCUE_STOPPING' },
  )
})
