import t from 'tap'
import {
  LiveClient,
  liveBacklogHardMaxBytes,
  liveBacklogMaxBytes,
  liveInflightMax,
} from '#broker/live-client.ts'
import type { Outgoing } from '#broker/outgoing.ts'
import { PublishEncoder } from '#broker/packet-writer.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

const encoder = new PublishEncoder()
const message = (qos: 0 | 1 | 2) => encoder.encode(Buffer.from('t'), Buffer.from('x'), qos, false)

/** A client whose socket takes nothing, with a backlog that the test sets. */
function client() {
  const clock = new ManualClock()
  const sent: number[] = []
  const acks: [number, number][] = []
  const ends: string[] = []
  const outgoing = {
    backlogBytes: 0,
    publish: (_encoded: unknown, packetId: number) => sent.push(packetId),
    ack: (type: number, packetId: number) => acks.push([type, packetId]),
  }
  let dropped = 0
  const live = new LiveClient({
    id: 'c',
    persistent: false,
    outgoing: outgoing as unknown as Outgoing,
    clock,
    drainTimeoutMs: 4_000,
    dropped: { add: () => void dropped++ },
    tooSlow: reason => ends.push(reason),
  })
  return { clock, live, outgoing, sent, acks, ends, dropped: () => dropped }
}

t.test('packet ids run on and pass over those in flight, round the end', async t => {
  const { live, sent } = client()
  live.deliver(message(1), 1)
  for (let i = 0; i < 65_534; i++) {
    live.deliver(message(1), 1)
    live.puback(sent.at(-1) ?? 0)
  }
  live.deliver(message(1), 1)
  t.equal(sent[0], 1)
  t.equal(sent.at(-2), 65_535)
  t.equal(sent.at(-1), 2, '1 is still in flight')
})

t.test('the flows of QoS 1 and 2, and packets that do not belong to them', async t => {
  const { live, acks } = client()
  live.deliver(message(1), 1)
  live.deliver(message(2), 2)
  t.equal(live.pubrec(1), 'wrong')
  t.equal(live.pubcomp(1), 'wrong')
  t.equal(live.puback(2), 'wrong')
  t.equal(live.pubcomp(2), 'wrong', 'before PUBREC')
  t.equal(live.puback(1), 'done')
  t.equal(live.puback(1), 'unknown')
  t.equal(live.pubrec(2), 'done')
  t.equal(live.pubrec(2), 'done', 'PUBREC again is answered again')
  t.equal(live.pubcomp(2), 'done')
  t.equal(live.pubrec(9), 'done', 'an unknown id is released, so that the client forgets it')
  t.same(acks, [
    [6, 2],
    [6, 2],
    [6, 9],
  ])
})

t.test('D6: unacknowledged messages are bounded', async t => {
  const { live, ends } = client()
  for (let i = 0; i < liveInflightMax; i++) live.deliver(message(1), 1)
  t.same(ends, [])
  t.notOk(live.deliver(message(1), 1))
  live.deliver(message(1), 1)
  t.equal(ends.length, 1, 'told once')
})

t.test('above the backlog bound QoS 0 is dropped and counted, QoS 1 goes on', async t => {
  const { live, outgoing, sent, dropped } = client()
  outgoing.backlogBytes = liveBacklogMaxBytes
  t.ok(live.deliver(message(0), 0))
  outgoing.backlogBytes += 1
  t.notOk(live.deliver(message(0), 0))
  t.ok(live.deliver(message(1), 1))
  t.equal(dropped(), 1)
  t.equal(sent.length, 2)
})

t.test('a backlog that does not drain in time ends the client; one that does, not', async t => {
  const { live, outgoing, clock, ends } = client()
  outgoing.backlogBytes = liveBacklogMaxBytes + 1
  live.deliver(message(1), 1)
  outgoing.backlogBytes = 0
  clock.advance(4_000)
  t.same(ends, [], 'it drained')
  outgoing.backlogBytes = liveBacklogMaxBytes + 1
  live.deliver(message(0), 0)
  clock.advance(3_999)
  t.same(ends, [])
  clock.advance(1)
  t.equal(ends.length, 1)
})

t.test('D6: the hard bound ends the client at once', async t => {
  const { live, outgoing, ends } = client()
  outgoing.backlogBytes = liveBacklogHardMaxBytes + 1
  t.notOk(live.deliver(message(2), 2))
  t.equal(ends.length, 1)
})
