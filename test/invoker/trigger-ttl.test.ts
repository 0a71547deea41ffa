import t from 'tap'
import type { TopicTrigger } from '#invoker/manifest.ts'
import { expiryOf } from '#invoker/trigger-ttl.ts'

const trigger = (topic: string, ttlMs?: number): TopicTrigger => ({
  kind: 'topic',
  topic,
  qos: 2,
  retained: true,
  ttlMs,
})
const message = { topic: 'sensors/a/temperature', time: 1_000 }

t.test('the longest ttl of the matching triggers counts', async t => {
  const triggers = [trigger('sensors/#', 10), trigger('sensors/+/temperature', 50), trigger('other', 900)]
  t.equal(expiryOf(triggers, message), 1_050)
})

t.test('a matching trigger without ttl means for ever, wherever it stands', async t => {
  const [short, open] = [trigger('sensors/#', 10), trigger('sensors/+/temperature')]
  t.equal(expiryOf([short, open], message), undefined)
  t.equal(expiryOf([open, short], message), undefined)
  t.equal(expiryOf([trigger('#')], message), undefined)
  t.equal(expiryOf([trigger('other', 5)], message), undefined, 'nor does a message that none matches expire')
  t.equal(expiryOf([trigger('other'), short], message), 1_010, 'one that does not match says nothing')
})

t.test("the message's own expiry holds too", async t => {
  t.equal(expiryOf([trigger('#', 500)], { ...message, expiresAt: 1_200 }), 1_200)
  t.equal(expiryOf([trigger('#', 100)], { ...message, expiresAt: 1_200 }), 1_100)
  t.equal(expiryOf([trigger('#')], { ...message, expiresAt: 1_200 }), 1_200)
})
