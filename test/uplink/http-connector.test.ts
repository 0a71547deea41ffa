/** The HTTP connector by itself: TLS with certificates of both sides, proxies, a kept-alive connection that died. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createHttpServer, request as httpRequest } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import type { LogRecord } from '#store/record.ts'
import type { OutgoingBatch } from '#uplink/connector.ts'
import { HttpConnector, type HttpConnectorOptions } from '#uplink/http-connector.ts'
import { startReceiver } from '../fakes/receiver.ts'
import { temporary } from '../fakes/uplink-rig.ts'

const record: LogRecord = { offset: 0, epoch: 'e1', time: 0, topic: 'a', qos: 1, payload: Buffer.from('1') }
const batch: OutgoingBatch = {
  log: 'outbox.a.5.1',
  kind: 'message',
  records: [record],
  from: 0,
  to: 1,
  after: 'e1',
  bytes: 2,
}
const options = () => ({ signal: new AbortController().signal, timeoutMs: 2_000 })

function connector(url: string, more: Partial<HttpConnectorOptions> = {}): HttpConnector {
  return new HttpConnector({ device: 'pi', url, clock: systemClock, environment: {}, ...more })
}

/** A certificate authority, and certificates of it for `localhost` and for a device. */
function certificates(folder: string) {
  const run = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  run('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=authority', '-days', '2')
  for (const name of ['localhost', 'pi']) {
    run(
      'req',
      ...key,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      `/CN=${name}`,
      '-addext',
      `subjectAltName=DNS:${name}`,
    )
    run(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-copy_extensions',
      'copy',
      '-days',
      '2',
      '-out',
      `${name}.pem`,
    )
  }
  return (name: string) => readFileSync(join(folder, name), 'utf8')
}

t.test(
  'TLS: the receiver is checked against the authority, and the device shows its certificate',
  async t => {
    await using dir = await temporary()
    const pem = certificates(dir.path)
    let peer = ''
    const tls = {
      ca: pem('ca.pem'),
      cert: pem('localhost.pem'),
      key: pem('localhost.key'),
      requestCert: true,
    }
    const server = createTlsServer(tls, (request, response) => {
      peer =
        (request.socket as import('node:tls').TLSSocket).getPeerCertificate().subject.CN?.toString() ?? ''
      request.resume().on('end', () => response.writeHead(204).end())
    })
    server.listen(0)
    await once(server, 'listening')
    const url = `https://localhost:${(server.address() as AddressInfo).port}/hook`
    const send = async (own: HttpConnector) => {
      const outcome = await own.send(own.encode(batch), options())
      own.close()
      return outcome
    }
    t.match(await send(connector(url)), { type: 'retryable', reason: /self-signed|unable to/ })
    t.match(
      await send(connector(url, { tls: { ca: pem('ca.pem') } })),
      { type: 'retryable' },
      'no certificate of ours',
    )
    const texts = { ca: pem('ca.pem'), cert: pem('pi.pem'), key: pem('pi.key') }
    t.same(await send(connector(url, { tls: texts })), { type: 'acknowledged' })
    t.equal(peer, 'pi')
    const paths = {
      ca: join(dir.path, 'ca.pem'),
      cert: join(dir.path, 'pi.pem'),
      key: join(dir.path, 'pi.key'),
    }
    t.same(await send(connector(url, { tls: paths })), { type: 'acknowledged' }, 'paths are read')
    t.match(await send(connector(url, { tls: { ca: join(dir.path, 'none.pem') } })), {
      type: 'retryable',
      reason: /ENOENT/,
    })
    server.closeAllConnections()
    server.close()
  },
)

t.test('proxies of the environment are used, and NO_PROXY is heeded', async t => {
  await using receiver = await startReceiver(() => 204)
  const passed: string[] = []
  const proxy = createHttpServer((incoming, response) => {
    passed.push(`${incoming.method} ${incoming.url}`)
    const own = httpRequest(
      incoming.url ?? '',
      { method: incoming.method, headers: incoming.headers },
      answer => {
        response.writeHead(answer.statusCode ?? 502)
        answer.pipe(response)
      },
    )
    incoming.pipe(own)
  })
  proxy.on('connect', (incoming, socket, head) => {
    passed.push(`CONNECT ${incoming.url}`)
    const [host = '', port] = (incoming.url ?? '').split(':')
    const far = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      far.write(head)
      far.pipe(socket).pipe(far)
    })
    far.on('error', () => socket.destroy())
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const at = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  const url = `http://127.0.0.1:${receiver.port}/hook`
  const send = async (environment: Record<string, string>, to = url) => {
    const own = connector(to, { environment })
    const outcome = await own.send(own.encode(batch), options())
    own.close()
    return outcome.type
  }
  t.equal(await send({ HTTP_PROXY: at }), 'acknowledged')
  t.same(passed.splice(0), [`POST ${url}`])
  t.equal(await send({ HTTP_PROXY: at, NO_PROXY: '127.0.0.1' }), 'acknowledged')
  t.same(passed.splice(0), [])
  await send({ HTTPS_PROXY: at }, `https://127.0.0.1:${receiver.port}/hook`)
  t.same(passed.splice(0), [`CONNECT 127.0.0.1:${receiver.port}`], 'TLS goes through a tunnel')
  proxy.closeAllConnections()
  proxy.close()
})

t.test('a kept-alive connection that the receiver closed is replaced without an error', async t => {
  let last: import('node:net').Socket | undefined
  await using receiver = await startReceiver((_request, response) => {
    last = response.socket ?? undefined
    return 204
  })
  const own = connector(`http://127.0.0.1:${receiver.port}/hook`)
  t.equal((await own.send(own.encode(batch), options())).type, 'acknowledged')
  last?.resetAndDestroy()
  t.equal((await own.send(own.encode(batch), options())).type, 'acknowledged')
  own.close()
})

t.test('a send that is aborted settles at once', async t => {
  await using receiver = await startReceiver(() => undefined)
  const own = connector(`http://127.0.0.1:${receiver.port}/hook`)
  const abort = new AbortController()
  const sending = own.send(own.encode(batch), { signal: abort.signal, timeoutMs: 60_000 })
  abort.abort()
  t.match(await sending, { type: 'retryable', reason: 'the link was cut' })
  t.match(await own.send(own.encode(batch), { signal: abort.signal, timeoutMs: 60_000 }), {
    type: 'retryable',
  })
  own.close()
})

t.test('numbers are asked beside /v1/events, for the logs and epochs named', async t => {
  const logs = [
    {
      log: 'l.1',
      epoch: 'e1',
      next: 7,
      lastMessageId: 'm',
      followers: [{ epoch: 'e2', at: 7 }, { epoch: 3 }],
    },
    { log: 'l.1', epoch: 'e2', next: -1 },
  ]
  await using receiver = await startReceiver(() => ({ status: 200, body: JSON.stringify({ logs }) }))
  const own = connector(`http://127.0.0.1:${receiver.port}/base/v1/events`, { token: 'x' })
  t.same(await own.numbers(['l.1', 'm.2'], ['e1'], options()), {
    type: 'numbers',
    numbers: [{ log: 'l.1', epoch: 'e1', next: 7, lastMessageId: 'm', followers: [{ epoch: 'e2', at: 7 }] }],
  })
  t.match(receiver.requests, [
    {
      method: 'GET',
      url: '/base/v1/devices/pi?log=l.1&log=m.2&epoch=e1',
      headers: { authorization: 'Bearer x' },
    },
  ])
  own.close()
  t.throws(() => connector('mqtt://x'), { code: 'FESCUE_CONFIG_INVALID' })
})
