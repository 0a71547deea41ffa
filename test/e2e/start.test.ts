/** `fescue start` and the signals of all commands. */
import { once } from 'node:events'
import { mkdir, mkdtempDisposable } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { FakeApi } from '../fakes/api-server.ts'
import { mainFile, root, startFescue } from '../harness/processes.ts'
import { ConsoleProcess } from './console-process.ts'

async function device() {
  const folder = await mkdtempDisposable(join(tmpdir(), 'fescue-start-'))
  const functions = join(folder.path, 'functions')
  await mkdir(functions)
  const data = join(folder.path, 'data')
  const args = (...more: string[]) => [
    'start',
    '--data',
    data,
    '--functions',
    functions,
    '--http-port',
    '0',
    ...more,
  ]
  return { data, args, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

const fescue = (...args: string[]) => new ConsoleProcess(process.execPath, [mainFile, ...args], { cwd: root })

t.test('SIGTERM ends the daemon with 0 within five seconds, and its port is free again', async t => {
  await using one = await device()
  const daemon = await startFescue(one.args('--mqtt-port', '0'))
  t.teardown(() => daemon.kill())
  const started = performance.now()
  t.equal(await daemon.stop(), 0)
  t.ok(performance.now() - started < 5_000)
  const again = await startFescue(one.args('--mqtt-port', String(daemon.ready.mqtt)))
  t.equal(again.ready.mqtt, daemon.ready.mqtt)
  t.equal(await again.stop(), 0)
})

t.test('a taken port names its owner and the mend', async t => {
  await using one = await device()
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await using started = fescue(...one.args('--mqtt-port', String(port)))
  t.equal(await started.exited, 1)
  t.match(started.text, new RegExp(`port ${port} is taken by pid ${process.pid} .*--mqtt-port`))
})

t.test('two daemons on one data folder: the second says so and changes nothing', async t => {
  await using one = await device()
  const daemon = await startFescue(one.args('--mqtt-port', '0'))
  t.teardown(() => daemon.kill())
  await using second = fescue(...one.args('--mqtt-port', '0'))
  t.equal(await second.exited, 1)
  t.match(second.text, /FESCUE_STORE_LOCKED/)
  await using status = fescue('status', '--json', '--data', one.data)
  t.equal(await status.exited, 0, 'the first still answers')
  t.equal(JSON.parse(status.text).pid, daemon.pid)
})

t.test('an invalid config ends with 5, naming line and mend', async t => {
  await using started = new ConsoleProcess(process.execPath, [mainFile, 'start'], {
    cwd: root,
    env: { FESCUE_MQQT_PORT: '1' },
  })
  t.equal(await started.exited, 5)
  t.match(started.text, /FESCUE_MQTT_PORT/)
})

t.test('Ctrl-C ends a command with 130, SIGTERM with 143, a closed pipe with 0', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-start-'))
  await using _api = await FakeApi.start(
    {
      'GET /api/v1/messages': (_request, response) => {
        response.write('{"time":0,"topic":"a","payload":"one"}\n')
      },
    },
    folder.path,
  )
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    await using sub = fescue('sub', '--data', folder.path)
    await sub.line(/one/)
    sub.child.kill(signal)
    t.equal(await sub.exited, code, signal)
  }
  await using piped = new ConsoleProcess('sh', [
    '-c',
    `'${process.execPath}' '${mainFile}' sub --data '${folder.path}' -C 1 | true; echo done`,
  ])
  await piped.line(/done/)
  t.notMatch(piped.text, /EPIPE|Error/)
})
