/** What counts as this machine only. */
import t from 'tap'
import { isLoopback } from '#base/loopback.ts'

t.test('the loopback by its names, and nothing else', async t => {
  for (const host of [
    'localhost',
    'LOCALHOST',
    '127.0.0.1',
    '127.9.8.7',
    '::1',
    '[::1]',
    '::ffff:127.0.0.1',
    '::FFFF:127.0.0.1',
  ])
    t.ok(isLoopback(host), host)
  for (const host of [
    '0.0.0.0',
    '::',
    '192.168.1.5',
    '::ffff:10.0.0.1',
    'example.com',
    'localhost.example.com',
    '127.0.0.1.example.com',
    '127.1',
    '',
  ])
    t.notOk(isLoopback(host), host)
})
