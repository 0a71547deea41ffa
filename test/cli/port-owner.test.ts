import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { describeOwner, ownerOfPort } from '#cli/port-owner.ts'

for (const host of ['127.0.0.1', '::1']) {
  t.test(`the process that listens on a port of ${host} is named`, async t => {
    const server = createServer().listen(0, host)
    t.teardown(() => server.close())
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0
    const owner = await ownerOfPort(port)
    t.equal(owner?.pid, process.pid)
    t.match(describeOwner(owner), new RegExp(`pid ${process.pid} .*node`))
    server.close()
    await once(server, 'close')
    t.equal(await ownerOfPort(port), undefined, 'nobody once it is closed')
  })
}

t.test('an owner that may not be seen is said to be one', async t => {
  t.match(describeOwner(undefined), /another user/)
})
