/** What counts as the loopback, and the refusal to listen on the network without users. */
import t from 'tap'
import { checkMqttListen, isLoopback } from '#config/listen-check.ts'

t.test('the loopback by its names', async t => {
  for (const host of ['localhost', 'LOCALHOST', '127.0.0.1', '127.9.8.7', '::1', '[::1]', '::ffff:127.0.0.1'])
    t.ok(isLoopback(host), host)
  for (const host of [
    '0.0.0.0',
    '::',
    '192.168.1.5',
    '::ffff:10.0.0.1',
    'example.com',
    'localhost.example.com',
    '127.0.0.1.example.com',
    '',
  ])
    t.notOk(isLoopback(host), host)
})

t.test('a listener on the network needs a user', async t => {
  t.throws(() => checkMqttListen('0.0.0.0', 0), {
    code: 'FESCUE_LISTEN_NO_USERS',
    message: /fescue devices add NAME/,
  })
  t.doesNotThrow(() => checkMqttListen('0.0.0.0', 1))
  t.doesNotThrow(() => checkMqttListen('127.0.0.1', 0))
})
