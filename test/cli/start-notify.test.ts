/** What systemd is told, and when it is not. Received by Perl, which every Debian has: Node has no datagram sockets. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { systemNotifier } from '#cli/start-notify.ts'
import { need } from '../harness/need.ts'
import { startFescue } from '../harness/processes.ts'

const skip = need('systemd-notify', 'perl')
const receiver = `use Socket; $| = 1; socket(S, AF_UNIX, SOCK_DGRAM, 0); bind(S, sockaddr_un($ARGV[0])) or die;
print "listening\\n"; while (defined(recv(S, $m, 4096, 0))) { $m =~ s/\\n/ /g; print "$m\\n" }`

/** A socket as systemd's, with what it was told. */
async function listen(t: Test) {
  const folder = await mkdtempDisposable(join(tmpdir(), 'fescue-notify-'))
  const socket = join(folder.path, 'socket')
  const perl: ChildProcess = spawn('perl', ['-e', receiver, socket], { stdio: ['ignore', 'pipe', 'inherit'] })
  const said: string[] = []
  const heard = new Set<() => void>()
  if (perl.stdout !== null)
    createInterface({ input: perl.stdout }).on('line', line => {
      // A helper stays until its word was taken.
      if (line !== 'BARRIER=1') said.push(line)
      for (const each of heard) each()
    })
  const until = (holds: () => boolean) =>
    new Promise<void>(resolve => {
      const look = () => {
        if (!holds()) return
        heard.delete(look)
        resolve()
      }
      heard.add(look)
      look()
    })
  t.teardown(async () => {
    perl.kill()
    await once(perl, 'exit')
    await folder.remove()
  })
  await until(() => said[0] === 'listening')
  said.length = 0
  return { socket, said, until, folder: folder.path }
}

t.test('a daemon says ready, alive and stopping', { skip }, async t => {
  const { socket, said, until, folder } = await listen(t)
  const args = ['--data', join(folder, 'data'), '--functions', folder, '--mqtt-port', '0', '--http-port', '0']
  const daemon = await startFescue(['start', ...args], [], {
    NOTIFY_SOCKET: socket,
    WATCHDOG_USEC: '300000',
  })
  await until(() => said.filter(line => line === 'WATCHDOG=1').length >= 2)
  t.equal(said[0], `READY=1 STATUS=MQTT on port ${daemon.ready.mqtt}, API on port ${daemon.ready.http}`)
  t.equal(await daemon.stop(), 0)
  await until(() => said.includes('STOPPING=1'))
})

t.test('a start that takes long asks for more time until it is ready', { skip }, async t => {
  const { socket, said, until } = await listen(t)
  const notifier = systemNotifier({ NOTIFY_SOCKET: socket }, 7, problem => t.fail(problem))
  notifier?.starting(20)
  await until(() => said.filter(line => line === 'EXTEND_TIMEOUT_USEC=90000000').length >= 2)
  notifier?.ready('up', async () => {})
  await until(() => said.includes('READY=1 STATUS=up'))
  notifier?.stopping()
  await until(() => said.includes('STOPPING=1'))
  t.notOk(said.slice(said.indexOf('READY=1 STATUS=up')).some(line => line.startsWith('EXTEND')))
})

t.test('no word while the store does not answer, and again once it does', { skip }, async t => {
  const { socket, said, until } = await listen(t)
  const problems: string[] = []
  const env = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '30000', WATCHDOG_PID: '7' }
  const notifier = systemNotifier(env, 7, problem => problems.push(problem))
  let probes = 0
  const answer = Promise.withResolvers<void>()
  notifier?.ready('up', () => {
    probes += 1
    return answer.promise
  })
  await until(() => said.length === 1)
  t.equal(probes, 1, 'one probe at a time, however long it takes')
  answer.resolve()
  await until(() => said.includes('WATCHDOG=1'))
  notifier?.stopping()
  await until(() => said.includes('STOPPING=1'))
  t.same(problems, [])
})

t.test(
  'nothing is said where nobody listens, nor of a watchdog that is for another process',
  { skip },
  async t => {
    t.equal(
      systemNotifier({}, 1, () => {}),
      undefined,
    )
    const { socket, said, until } = await listen(t)
    const env = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '10000', WATCHDOG_PID: '8' }
    const notifier = systemNotifier(env, 7, () => {})
    notifier?.ready('up', async () => t.fail('it is not asked'))
    await until(() => said.length === 1)
    notifier?.stopping()
    await until(() => said.length === 2)
    t.same(said, ['READY=1 STATUS=up', 'STOPPING=1'])
  },
)
