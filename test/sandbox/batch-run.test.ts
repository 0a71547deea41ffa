import t from 'tap'
import { frameBytesMax } from '#base/wire/frame.ts'
import { BatchRun } from '#sandbox/batch-run.ts'
import { itemOf, specOf } from '../fakes/sandbox-rig.ts'

for (const concurrency of [1, 4]) {
  t.test(`topics as long as MQTT allows fit their frames, concurrency ${concurrency}`, async t => {
    const topic = '\u0001'.repeat(65_535)
    const items = Array.from({ length: 256 }, (_, n) => itemOf(n, n, { topic, orderKey: topic }))
    const sink = { result() {}, ended() {}, log() {}, readState: async () => undefined }
    const run = new BatchRun(1, specOf('f', '', { concurrency }), items, sink, false)
    let bytes = 0
    for (const pieces of run.next()) for (const piece of pieces) bytes += piece.length
    t.ok(bytes > 0 && bytes < frameBytesMax / 2, `${bytes} bytes on their way`)
  })
}
