import t from 'tap'
import { docsFor, keyDocs, keysLike } from '#config/key-docs.ts'

t.test('every key has its type, meaning and effect, also below lists and free names', async t => {
  const docs = keyDocs()
  for (const doc of docs) {
    t.ok(doc.type !== '' && doc.description !== '', doc.key)
    t.ok(doc.variable !== undefined || /\[\]|NAME/.test(doc.key), `${doc.key} has a variable`)
  }
  const keys = docs.map(({ key }) => key)
  for (const key of ['mqtt.port', 'routes[].filter', 'uplinks.NAME.tls.ca', 'users[].password', 'log.level'])
    t.ok(keys.includes(key), key)
  t.equal(new Set(keys).size, keys.length)
})

t.test('a key is found as it is written in a file or in an error', async t => {
  t.match(docsFor('limits.inbox'), [
    { type: 'size', default: '64MiB', variable: 'FESCUE_LIMITS_INBOX', effect: 'live', required: false },
  ])
  t.match(docsFor('limits.blockMs'), [{ type: 'duration', default: '10s' }])
  for (const written of ['routes[3].to', 'routes[].to', 'routes.to'])
    t.match(docsFor(written), [{ key: 'routes[].to', default: 'default' }], written)
  t.match(docsFor('uplinks.my-cloud.url'), [{ key: 'uplinks.NAME.url', required: true }])
  t.ok(docsFor('mqtt').length >= 3, 'all below it')
  t.same(docsFor('nothing'), [])
  t.same(keysLike('limits.inbx'), ['limits.inbox'])
  t.same(keysLike('broker.port'), ['mqtt.port', 'http.port'])
})
