/** MQTT over TLS: a real client, a certificate of our own, and no plain text on the same port. */
import { execFile } from 'node:child_process'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { need } from '../harness/need.ts'
import { World } from '../harness/world.ts'

const run = promisify(execFile)
const skip = need('openssl', 'mosquitto_pub')

t.test(
  'a client that trusts the certificate publishes; one that does not, and plain text, are refused',
  { skip },
  async t => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-tls-'))
    const [key, cert] = [join(dir.path, 'key.pem'), join(dir.path, 'cert.pem')]
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
    await run('openssl', [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-keyout',
      key,
      '-out',
      cert,
      ...subject,
    ])
    await using world = await World.create({
      functions: {},
      config: `tls: { cert: "${cert}", key: "${key}" }\n`,
    })
    await world.startDaemon()
    const publish = (...more: string[]) =>
      run(
        'mosquitto_pub',
        ['-h', 'localhost', '-p', String(world.mqttPort), '-q', '1', '-t', 'in/p/0', '-m', '{}', ...more],
        { timeout: 10_000 },
      )
    await publish('--cafile', cert)
    const { traffic } = await world.api<{ traffic: { published: number } }>('/api/v1/status')
    t.equal(traffic.published, 1)
    await t.rejects(publish('--capath', '/nonexistent'), 'another authority')
    await t.rejects(publish(), 'plain text')
  },
)
