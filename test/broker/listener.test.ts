import { once } from 'node:events'
import net from 'node:net'
import t from 'tap'
import { checkListen, Listener, type ListenerOptions } from '#broker/listener.ts'

const options = (more: Partial<ListenerOptions> = {}): ListenerOptions => ({
  host: '127.0.0.1',
  port: 0,
  connectionsMax: 10,
  unauthenticatedMax: 10,
  unauthenticatedPerAddressMax: 10,
  accept: () => {},
  turnedAway: () => {},
  ...more,
})

t.test('a network address without users is refused with the mend; loopback and users are fine', async t => {
  t.throws(() => checkListen('0.0.0.0', 0), { code: 'FESCUE_LISTEN_NO_USERS', message: /fescue devices add/ })
  t.throws(() => checkListen('192.0.2.7', 0), { code: 'FESCUE_LISTEN_NO_USERS' })
  t.throws(() => checkListen('::', 0), { code: 'FESCUE_LISTEN_NO_USERS' })
  checkListen('0.0.0.0', 1)
  for (const host of ['127.0.0.1', '127.1.2.3', 'localhost', '::1', '::ffff:127.0.0.1']) checkListen(host, 0)
  for (const host of ['::ffff:192.0.2.7', '127.0.0.1.example.com'])
    t.throws(() => checkListen(host, 0), { code: 'FESCUE_LISTEN_NO_USERS' })
})

t.test('a port that is taken is named', async t => {
  const first = await Listener.open(options())
  await t.rejects(Listener.open(options({ port: first.port })), {
    code: 'FESCUE_PORT_TAKEN',
    message: new RegExp(String(first.port)),
  })
  first.close()
})

t.test('a certificate that cannot be read is named', async t => {
  const tls = { certFile: '/nowhere/cert.pem', keyFile: '/nowhere/key.pem' }
  await t.rejects(Listener.open(options({ tls })), { code: 'FESCUE_CONFIG_UNREADABLE', message: /cert.pem/ })
})

t.test('D6: a closed connection gives its place back', async t => {
  const turnedAway: string[] = []
  const accepted: net.Socket[] = []
  const listener = await Listener.open(
    options({
      connectionsMax: 1,
      accept: socket => {
        accepted.push(socket)
        socket.resume()
      },
      turnedAway: (_address, bound) => turnedAway.push(bound),
    }),
  )
  const dial = async () => {
    const socket = net.connect(listener.port, '127.0.0.1')
    socket.on('error', () => {})
    await once(socket, 'connect')
    return socket
  }
  const first = await dial()
  const second = await dial()
  await once(second, 'close')
  t.same(turnedAway, ['connectionsMax'])
  const [near] = accepted
  first.destroy()
  if (near !== undefined && !near.closed) {
    near.destroy()
    await once(near, 'close')
  }
  const third = await dial()
  while (accepted.length < 2) await new Promise(resolve => setImmediate(resolve))
  t.equal(listener.connections, 1)
  third.destroy()
  accepted[1]?.destroy()
  listener.close()
})
