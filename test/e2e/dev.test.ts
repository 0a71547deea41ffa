/** `fescue dev` as a person meets it: without a terminal, with one, and started again on the next day. */
import { cp, mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import t from 'tap'
import type { Status } from '#api/backend.ts'
import { ApiClient } from '#cli/api-client.ts'
import { daemonOf } from '#cli/daemon-target.ts'
import { childrenOf, mainFile, root, startFescue } from '../harness/processes.ts'
import { ConsoleProcess } from './console-process.ts'

interface CloudRecord {
  readonly subject: string
  readonly data: unknown
}

const temporary = () => mkdtempDisposable(join(tmpdir(), 'fescue-dev-'))
const freePorts = ['--mqtt-port', '0', '--http-port', '0', '--cloud-port', '0']

function startDev(data: string, ...args: string[]): ConsoleProcess {
  return new ConsoleProcess(process.execPath, [mainFile, 'dev', '--data', data, ...freePorts, ...args], {
    cwd: root,
  })
}

t.test('without a terminal: a ready line, what to try, a line per invocation, a clean end', async t => {
  await using folder = await temporary()
  await using dev = startDev(folder.path)
  const ready = JSON.parse((await dev.line(/"msg":"ready"/)).input)
  await dev.line(/mosquitto_pub -p \d+ -q 1 -t \S+ -m '.+'/)
  await dev.line(new RegExp(`http://127\\.0\\.0\\.1:${ready.http}/`))
  t.ok(performance.now() - dev.startedAt < 5_000, 'within five seconds of the start')

  await dev.line(/schedule → simulated-sensors ✔ .* → sensors\/kitchen\/temperature .* and 2 more/)
  await dev.line(
    /sensors\/kitchen\/temperature .* → room-average ✔ [\d.]+ ms → averages\/kitchen\/temperature/,
  )
  await dev.line(/cloud connected/)
  t.equal(stripVTControlCharacters(dev.text), dev.text, 'nothing moves and nothing is coloured')

  const children = childrenOf(dev.child.pid!)
  t.ok(
    children.some(({ command }) => command.includes(' cloud ')),
    'the cloud endpoint is a process of its own',
  )
  const stopping = performance.now()
  dev.child.kill('SIGTERM')
  t.equal(await dev.exited, 0)
  t.ok(performance.now() - stopping < 5_000)
  for (const { pid } of children)
    t.throws(() => process.kill(pid, 0), { code: 'ESRCH' }, `child ${pid} is gone`)
})

t.test('the samples: a fan with hysteresis, an alarm that is raised once and reaches the cloud', async t => {
  await using folder = await temporary()
  const functions = join(folder.path, 'functions')
  for (const name of ['thermostat', 'alarm', 'room-average'])
    await cp(join(root, 'functions', name), join(functions, name), { recursive: true })
  const data = join(folder.path, 'data')
  await using dev = startDev(data, '--functions', functions)
  const { cloud } = JSON.parse((await dev.line(/"msg":"ready"/)).input)
  const client = new ApiClient(daemonOf(data))
  const stop = new AbortController()
  const messages = client.stream<{ topic: string; payload: string }>(
    '/api/v1/messages?filter=%23',
    stop.signal,
  )
  const next = messages.next()
  const seen: string[] = []
  const publish = (topic: string, payload: object) =>
    client.call('/api/v1/publish', { method: 'POST', body: { topic, payload } })
  for (const celsius of [20, 26.5, 25, 24]) await publish('sensors/attic/temperature', { celsius })
  for (const smoke of [true, true, false]) await publish('sensors/attic/smoke', { smoke })
  const effects = /^(actuators|alarms|averages)/
  let step = await next
  while (!step.done && seen.length < 10) {
    if (effects.test(step.value.topic)) seen.push(`${step.value.topic} ${step.value.payload}`)
    if (seen.length < 10) step = await messages.next()
  }
  stop.abort()
  t.same(
    seen.filter(text => text.startsWith('actuators/attic/fan')),
    ['actuators/attic/fan {"on":true}', 'actuators/attic/fan {"on":false}'],
  )
  t.same(seen.filter(text => text.startsWith('actuators/attic/siren')).length, 2, 'once for each change')
  t.ok(seen.includes('averages/attic/temperature {"celsius":23.9,"readings":4}'))
  await dev.line(/cloud connected/)
  const endpoint = new ApiClient({ url: new URL(`http://127.0.0.1:${cloud}`), name: 'the cloud' })
  const alarms = async () => {
    const [found] = await endpoint.call<{ device: string }[]>('/v1/devices')
    if (found === undefined) return []
    const all = await endpoint.call<CloudRecord[]>(`/v1/devices/${found.device}/records?after=-1`)
    return all.filter(({ subject }) => subject.startsWith('alarms/'))
  }
  let arrived = await alarms()
  while (arrived.length < 2) arrived = await alarms()
  t.match(arrived, [
    { subject: 'alarms/attic/smoke', data: { raised: true } },
    { subject: 'alarms/attic/smoke', data: { raised: false } },
  ])
})

t.test('the keys cut the link and restore it, publish, and exit; the terminal is as before', async t => {
  await using folder = await temporary()
  const command = [process.execPath, mainFile, 'dev', '--data', folder.path, ...freePorts].join(' ')
  // script(1) gives it a terminal of its own, on which our bytes are the keys.
  await using dev = new ConsoleProcess(
    'script',
    ['-qefc', `${command}; echo ended with $?; stty -a`, '/dev/null'],
    {
      cwd: root,
      env: { TERM: 'xterm', NO_COLOR: '' },
    },
  )
  await dev.line(/mosquitto_pub/)
  await dev.line(/cloud connected/)
  dev.child.stdin.write('o')
  await dev.line(/link to the cloud is cut/)
  await dev.line(/cloud offline/)
  let mark = dev.mark
  dev.child.stdin.write('p')
  await dev.line(/Published sensors\/kitchen\/temperature \{"celsius":31\}/, mark)
  await dev.line(/→ .*thermostat .* → actuators\/kitchen\/fan/, mark)
  mark = dev.mark
  dev.child.stdin.write('O')
  await dev.line(/link to the cloud is restored/, mark)
  await dev.line(/cloud connected/, mark)
  dev.child.stdin.write('x')
  await dev.line(/ended with 0/)
  const settings = await dev.line(/icanon/)
  t.notMatch(settings[0] && settings.input, /-icanon/, 'lines and echo work again')
  await dev.exited
})

t.test('Ctrl-C ends it like the key x', async t => {
  await using folder = await temporary()
  const command = [process.execPath, mainFile, 'dev', '--data', folder.path, ...freePorts].join(' ')
  await using dev = new ConsoleProcess('script', ['-qefc', `${command}; echo ended with $?`, '/dev/null'], {
    cwd: root,
  })
  await dev.line(/cloud connected/)
  dev.child.stdin.write('\u0003')
  await dev.line(/ended with 0/)
  t.equal(await dev.exited, 0)
})

t.test('ports that are taken are no obstacle, and it says so', async t => {
  await using first = await temporary()
  await using second = await temporary()
  await using dev = startDev(first.path)
  const { mqtt, http, cloud } = JSON.parse((await dev.line(/"msg":"ready"/)).input)
  const ports = ['--mqtt-port', mqtt, '--http-port', http, '--cloud-port', cloud].map(String)
  await using other = startDev(second.path, ...ports)
  const ready = JSON.parse((await other.line(/"msg":"ready"/)).input)
  await other.line(new RegExp(`Port ${mqtt} is taken, so MQTT is on port ${ready.mqtt}`))
  await other.line(new RegExp(`Port ${http} is taken, so the page is on port ${ready.http}`))
  await other.line(new RegExp(`Port ${cloud} is taken`))
  t.not(ready.mqtt, mqtt)
})

t.test('a second start leaves out the readings that nobody wants any more', async t => {
  await using folder = await temporary()
  const functions = join(folder.path, 'functions')
  const data = join(folder.path, 'data')
  await mkdir(join(functions, 'slow'), { recursive: true })
  const ttlMs = 1_000
  await writeFile(
    join(functions, 'slow', 'function.yaml'),
    `triggers: [{ topic: sensors/+/temperature, ttl: ${ttlMs}ms }]\npermissions: { publish: [seen] }\ntimeout: 60s\n`,
  )
  await writeFile(
    join(functions, 'slow', 'index.js'),
    `import { publish } from 'fescue'
     export async function handler(event, context) {
       publish('seen', { n: event.n, ageMs: Date.now() - context.time })
       await new Promise(resolve => setTimeout(resolve, event.n === 0 ? 30000 : 0))
     }`,
  )
  const args = ['dev', '--data', data, '--functions', functions, ...freePorts]
  const before = await startFescue(args)
  t.teardown(() => before.kill())
  const client = new ApiClient(daemonOf(data))
  const publish = (n: number) =>
    client.call('/api/v1/publish', {
      method: 'POST',
      body: { topic: 'sensors/a/temperature', payload: { n } },
    })
  for (let n = 0; n < 20; n++) await publish(n)
  const publishedAt = performance.now()
  await before.kill()

  // Time must pass: that is what is tested.
  await new Promise(resolve => setTimeout(resolve, ttlMs - (performance.now() - publishedAt) + 50))
  const after = await startFescue(args)
  t.teardown(() => after.kill())
  await using ended = new AsyncDisposableStack()
  const stop = ended.adopt(new AbortController(), each => each.abort())
  const seen = client.stream<{ payload: string }>('/api/v1/messages?filter=seen', stop.signal)
  const first = seen.next()
  await publish(99)
  const { value } = await first
  t.match(JSON.parse(value.payload), { n: 99 }, 'the first that it takes is new')
  const { store } = await client.call<Status>('/api/v1/status')
  t.equal(store.lost.expired, 20, 'and the ledger counts the others')
  t.equal(await after.stop(), 0)
})
