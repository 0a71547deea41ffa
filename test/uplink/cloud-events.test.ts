/** What a record looks like as a CloudEvent, and that any payload comes back as it was. */
import fc from 'fast-check'
import t from 'tap'
import type { LogRecord } from '#store/record.ts'
import { CloudEventsEncoder } from '#uplink/cloud-events.ts'
import type { OutgoingBatch } from '#uplink/connector.ts'

const base: LogRecord = {
  offset: 0,
  epoch: 'e1',
  time: 1_700_000_000_007,
  topic: 'a/b',
  qos: 0,
  payload: Buffer.from('1'),
}

function encode(records: readonly LogRecord[], more: Partial<OutgoingBatch> = {}): string {
  const encoder = new CloudEventsEncoder('pi')
  const batch = {
    log: 'outbox.a.5.1',
    kind: 'message' as const,
    records,
    from: 0,
    to: 1,
    after: 'e1',
    bytes: 1,
    ...more,
  }
  return encoder.encode(batch).toString()
}

function one(record: Partial<LogRecord>) {
  return JSON.parse(encode([{ ...base, ...record }]))[0]
}

t.test('attributes', async t => {
  t.same(one({ messageId: 'm-1', qos: 2, trace: '00-a-b-01' }), {
    specversion: '1.0',
    source: '//fescue/pi',
    type: 'fescue.message.v1',
    id: 'pi/e1/outbox.a.5.1/0',
    subject: 'a/b',
    time: '2023-11-14T22:13:20.007Z',
    fescuemsgid: 'm-1',
    fescueqos: 2,
    traceparent: '00-a-b-01',
    datacontenttype: 'application/json',
    data: 1,
  })
  t.match(JSON.parse(encode([base], { kind: 'loss' })), [{ type: 'fescue.loss.v1' }])
})

t.test('JSON is data, to the digit; all else is data_base64', async t => {
  const payload = (text: string) => ({ payload: Buffer.from(text) })
  t.match(
    encode([{ ...base, ...payload('{"a":1.50,"b":12345678901234567890}') }]),
    '"data":{"a":1.50,"b":12345678901234567890}',
  )
  t.match(one(payload('"text"')), { data: 'text' })
  t.match(one(payload(' [1]\n')), { data: [1] })
  for (const text of ['', 'null', 'on', '{', '01', '{"a":1} x']) {
    const event = one(payload(text))
    t.match(event, {
      datacontenttype: 'application/octet-stream',
      data_base64: Buffer.from(text).toString('base64'),
    })
    t.notOk('data' in event, text)
  }
  t.notOk('data' in one({ payload: Buffer.from([0x22, 0xff, 0x22]) }), 'JSON but for its bytes')
  t.match(one({ ...payload('5'), contentType: 'text/plain' }), {
    datacontenttype: 'text/plain',
    data_base64: 'NQ==',
  })
  t.match(one({ ...payload('{}'), contentType: 'application/geo+json; charset=utf-8' }), { data: {} })
})

t.test('the first record of an epoch says where it begins and what came before', async t => {
  const records = [
    { ...base, offset: 7 },
    { ...base, offset: 8 },
    { ...base, offset: 9, epoch: 'e2' },
    { ...base, offset: 10, epoch: 'e2' },
  ]
  const marks = (more: Partial<OutgoingBatch>) =>
    JSON.parse(encode(records, more)).map((event: Record<string, string>) => [
      event.fescuebase,
      event.fescueafter,
    ])
  const none = [undefined, undefined]
  t.same(marks({ from: 5, after: 'e1' }), [none, none, ['9', 'e1'], none])
  t.same(marks({ from: 5, after: 'e0' }), [['5', 'e0'], none, ['9', 'e1'], none])
  t.same(marks({ from: 5, after: undefined }), [['5', undefined], none, ['9', 'e1'], none])
})

t.test('any payload and topic come back', async () => {
  const payloads = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map(text => new TextEncoder().encode(text)),
  )
  fc.assert(
    fc.property(payloads, fc.string(), (bytes, topic) => {
      const payload = Buffer.from(bytes)
      const event = one({ payload, topic })
      const back = 'data' in event ? event.data : Buffer.from(event.data_base64, 'base64')
      const same =
        'data' in event
          ? JSON.stringify(back) === JSON.stringify(JSON.parse(payload.toString()))
          : payload.equals(back)
      return same && event.subject === topic.toWellFormed()
    }),
  )
})
