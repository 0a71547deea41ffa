/** Live streams: nothing missed after the headers, bounded per client, a stalled reader harms nobody. */
import t from 'tap'
import { streamsMax } from '#api/api.ts'
import type { LiveMessage } from '#api/backend.ts'
import { stallMaxMs, streamBacklogMaxBytes } from '#api/live-stream.ts'
import type { LiveEvent } from '#base/live-event.ts'
import { ManualClock } from '../fakes/manual-clock.ts'
import { startRig } from './api-rig.ts'

const event: LiveEvent = { type: 'link', time: 1, uplink: 'default', state: 'connected' }

function message(topic: string, payload: Buffer): LiveMessage {
  return { time: 1, topic, payload, qos: 1, retain: false, origin: 'mqtt:c' }
}

t.test('messages: one JSON document a line, from the moment of the headers', async t => {
  await using rig = await startRig()
  using stream = await rig.stream('/api/v1/messages?filter=a/%23')
  t.equal(stream.response.headers['content-type'], 'application/x-ndjson')
  rig.backend.deliver(message('b', Buffer.from('not asked for')))
  rig.backend.deliver(message('a/1', Buffer.from('21.5 °C')))
  rig.backend.deliver(message('a/2', Buffer.from([0xff, 0x00])))
  t.same(JSON.parse(await stream.line()), {
    time: 1,
    topic: 'a/1',
    qos: 1,
    retain: false,
    origin: 'mqtt:c',
    payload: '21.5 °C',
  })
  t.same(JSON.parse(await stream.line()), {
    time: 1,
    topic: 'a/2',
    qos: 1,
    retain: false,
    origin: 'mqtt:c',
    payloadBase64: '/wA=',
  })
})

t.test('events: NDJSON, or server-sent events for those who accept them', async t => {
  await using rig = await startRig()
  using plain = await rig.stream('/api/v1/events')
  using sse = await rig.stream('/api/v1/events', { accept: 'text/event-stream' })
  rig.backend.emit(event)
  t.same(JSON.parse(await plain.line()), event)
  t.equal(sse.response.headers['content-type'], 'text/event-stream')
  t.equal(await sse.line(), `data: ${JSON.stringify(event)}`)
  t.equal(await sse.line(), '')
})

t.test('a client that goes away is unsubscribed', async t => {
  await using rig = await startRig()
  const stream = await rig.stream('/api/v1/events')
  t.equal(rig.backend.eventListeners.size, 1)
  stream.request.destroy()
  while (rig.backend.eventListeners.size > 0) await rig.ask('/healthz')
  t.pass('its listener is gone')
})

t.test('a stalled reader is skipped, told how much, and never holds more than its bound', async t => {
  await using rig = await startRig()
  using stream = await rig.stream('/api/v1/messages')
  using other = await rig.stream('/api/v1/messages')
  stream.response.pause()
  const payload = Buffer.alloc(16 * 1024, 'x')
  const before = process.memoryUsage().rss
  // 160 MB, far beyond what sockets and the bound take together.
  const sent = 10_000
  for (let i = 0; i < sent; i++) {
    rig.backend.deliver(message(`n/${i}`, payload))
    if (i % 100 === 99) await rig.ask('/healthz')
  }
  t.ok(process.memoryUsage().rss - before < 100 * 2 ** 20, 'memory stays bounded')
  t.ok(streamBacklogMaxBytes < 2 ** 20)
  let received = 0
  let skipped = 0
  while (received + skipped < sent) {
    const line = JSON.parse(await stream.line())
    if (line.type === 'skipped') skipped += line.count
    else received += 1
  }
  t.ok(skipped > 0 && received > 0)
  t.equal(received + skipped, sent, 'each message was sent or counted')
  rig.backend.deliver(message('after', Buffer.from('ok')))
  t.match(JSON.parse(await stream.line()), { topic: 'after' })
  t.match(JSON.parse(await other.line()), { topic: 'n/0' })
})

t.test('a reader that takes nothing for too long is cut; one that reads gets pings', async t => {
  const clock = new ManualClock()
  await using rig = await startRig({ clock })
  using reader = await rig.stream('/api/v1/events', { accept: 'text/event-stream' })
  clock.advance(15_000)
  t.equal(await reader.line(), ': ping')
  using stalled = await rig.stream('/api/v1/messages')
  stalled.response.pause()
  const closed = new Promise(resolve => stalled.response.on('close', resolve))
  stalled.response.on('error', () => {})
  for (let i = 0; i < 2_000; i++) rig.backend.deliver(message('n', Buffer.alloc(16 * 1024, 'x')))
  clock.advance(stallMaxMs + 15_000)
  while (rig.backend.messageListeners.size > 0) await rig.ask('/healthz')
  stalled.response.resume()
  await closed
  t.equal(rig.backend.eventListeners.size, 1, 'the one that reads stays')
})

t.test('streams are bounded in number', async t => {
  await using rig = await startRig()
  const streams = await Promise.all(Array.from({ length: streamsMax }, () => rig.stream('/api/v1/events')))
  t.match(await rig.ask('/api/v1/events'), {
    status: 429,
    body: { code: 'FESCUE_BUSY' },
    headers: { 'retry-after': '1' },
  })
  for (const stream of streams) stream.request.destroy()
  while (rig.backend.eventListeners.size > 0) await rig.ask('/healthz')
  using again = await rig.stream('/api/v1/events')
  t.equal(again.response.statusCode, 200)
})

t.test('a stop ends the streams', async t => {
  await using rig = await startRig()
  using stream = await rig.stream('/api/v1/events')
  await rig.api.drain(1_000)
  t.equal(await stream.line(), '(end)')
  t.equal(rig.backend.eventListeners.size, 0)
})
