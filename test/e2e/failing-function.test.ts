/** One function fails at everything: publishers and neighbours do not notice. */
import t from 'tap'
import { blast } from '../harness/blast.ts'
import { World } from '../harness/world.ts'

t.setTimeout(110_000)

const manifest = 'triggers:\n  - topic: in/#\npermissions:\n  publish: [out/#]\n'

interface Row {
  readonly name: string
  readonly inbox: { readonly records: number }
  readonly invocations: { readonly ok: number }
}

t.test(
  '100,000 messages to a function that always throws: no publisher waits 1 s, the neighbour runs on',
  async t => {
    await using world = await World.create({
      functions: {
        throws: { manifest, source: `export const handler = async () => { throw new Error('always') }` },
        counts: {
          manifest,
          source: `import { state } from 'fescue'
export async function handler() { await state.set('n', ((await state.get('n')) ?? 0) + 1) }`,
        },
      },
      // Small enough that the inbox of the function that fails is full long before the end.
      config: 'limits: { inbox: 4MiB }\n',
    })
    await world.startDaemon()
    const count = 100_000
    const report = await blast({
      port: world.mqttPort,
      topic: 'in/a/b',
      count,
      payload: n => JSON.stringify({ n }),
      window: 100,
    })
    t.comment(
      `${Math.round(count / report.seconds)} messages/s, longest wait ${Math.round(report.longestAckMs)} ms`,
    )
    t.ok(
      report.longestAckMs < 1_000,
      `the longest wait for a PUBACK was ${Math.round(report.longestAckMs)} ms`,
    )
    for (;;) {
      const rows = await world.api<Row[]>('/api/v1/functions')
      const counts = rows.find(row => row.name === 'counts')!
      if (counts.invocations.ok === count) break
      t.ok(counts.inbox.records > 0, `${counts.invocations.ok} of ${count} counted`)
      await new Promise(resolve => setTimeout(resolve, 200))
    }
    const throws = (await world.api<Row[]>('/api/v1/functions')).find(row => row.name === 'throws')!
    t.equal(throws.invocations.ok, 0)
    t.ok(throws.inbox.records > 0, 'its messages are kept, up to the bound of its inbox')
  },
)
