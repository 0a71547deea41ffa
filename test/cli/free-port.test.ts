import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { freePort } from '#cli/free-port.ts'

t.test('the wanted port when it is free, another one when it is taken', async t => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const taken = typeof address === 'object' ? (address?.port ?? 0) : 0
  const other = await freePort('127.0.0.1', taken)
  t.not(other, taken)
  t.ok(other > 0)
  server.close()
  await once(server, 'close')
  t.equal(await freePort('127.0.0.1', taken), taken)
})
