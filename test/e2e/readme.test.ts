/** The README, word for word: what it names exists, and what it tells to type does what it says. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { Buffered, Status } from '#api/backend.ts'
import { ApiClient } from '#cli/api-client.ts'
import { commands } from '#cli/commands.ts'
import { daemonOf } from '#cli/daemon-target.ts'
import { root } from '../harness/processes.ts'
import { ConsoleProcess } from './console-process.ts'

const readme = await readFile(join(root, 'README.md'), 'utf8')
const run = promisify(execFile)

/** Code blocks of a language, in order. */
function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(
    ([, text = '']) => text,
  )
}

const typed = blocks('sh').flatMap(block => block.split('\n'))

/** The commands that are typed and begin so. */
function commandsLike(start: string): string[] {
  return typed.filter(line => line.startsWith(start))
}

/** Looks again with everything that happens on the device: the sensors speak every two seconds. */
async function until(client: ApiClient, holds: () => Promise<boolean>): Promise<void> {
  const stop = new AbortController()
  for await (const _event of client.stream('/api/v1/events', stop.signal)) if (await holds()) stop.abort()
}

async function missingCommand(name: string): Promise<string | undefined> {
  try {
    await run('sh', ['-c', `command -v ${name}`])
    return undefined
  } catch {
    return `needs ${name}`
  }
}

const skip = (await missingCommand('mosquitto_pub')) ?? (await missingCommand('npm')) ?? false

t.test('the first screen has what Fescue is, for whom, the two commands, and what one sees', async t => {
  const screen = readme.split('\n').slice(0, 60).join('\n')
  for (const word of [
    'Fescue is',
    'It is for',
    '```sh\nnpm ci\nnpm start\n```',
    'mosquitto_pub',
    '64-bit',
    'thermostat',
  ])
    t.ok(screen.includes(word), word)
})

t.test('files that are linked or named as tests exist', async t => {
  const linked = [...readme.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, path = '']) => path)
  t.ok(linked.length > 10)
  for (const path of linked) t.ok(existsSync(join(root, path)), path)
})

t.test('each guarantee names the test that holds it', async t => {
  const [, table = ''] = /\| Promise \| Tested by \|\n\|---\|---\|\n(.*?)\n\n/s.exec(readme) ?? []
  const rows = table.split('\n')
  t.ok(rows.length >= 10)
  for (const row of rows) t.match(row, /^\| .+ \| \[[^\]]+\]\(test\/[\w/.-]+\.test\.ts\)/, row.slice(0, 60))
})

t.test('commands that are named exist', async t => {
  const named = [...readme.matchAll(/`fescue ([a-z-]+)/g)].map(([, name = '']) => name)
  const called = typed.flatMap(
    line => /(?:^(?:sudo )?fescue|npm run (?:-s )?fescue --) ([a-z-]+)/.exec(line)?.[1] ?? [],
  )
  t.ok(called.length > 1)
  for (const name of new Set([...named, ...called])) t.ok(Object.hasOwn(commands, name), name)
  for (const name of Object.keys(commands)) t.ok(named.includes(name), `${name} is named`)
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  // With exec: npm passes a SIGTERM on to its shell, which would die of it and leave the program behind.
  t.match(scripts, { start: /^exec bin\/node src\/main.ts dev$/, fescue: /^exec bin\/node src\/main.ts$/ })
})

t.test('npm start, a message, the link, a function, and the end', { skip }, async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-readme-'))
  const functions = join(folder.path, 'functions')
  await cp(join(root, 'functions'), functions, { recursive: true })
  const data = join(folder.path, 'data')
  const ports = ['--mqtt-port', '0', '--http-port', '0', '--cloud-port', '0']
  const args = ['start', '--', '--data', data, '--functions', functions, ...ports]
  // The hooks of tap in NODE_OPTIONS are for this Node, and npm may run on an older one.
  await using npm = new ConsoleProcess('env', ['-u', 'NODE_OPTIONS', 'npm', ...args], { cwd: root })
  const ready = JSON.parse((await npm.line(/"msg":"ready"/)).input)
  const client = new ApiClient(daemonOf(data))
  /** What is typed, on the port of this run. */
  const type = (line: string) => run('sh', ['-c', line.replace('-p 1883', `-p ${ready.mqtt}`)])
  const watch = (topic: string) =>
    run('mosquitto_sub', ['-p', ready.mqtt, '-t', topic, '-C', '1', '-W', '20', '-v'])

  const pasted = (await npm.line(/^ +(mosquitto_pub .*)$/))[1] ?? ''
  const [documented = ''] = commandsLike('mosquitto_pub -p')
  t.equal(
    pasted.replace(`-p ${ready.mqtt}`, '-p 1883'),
    documented,
    'the line to paste is the one in the README',
  )
  await type(documented)
  t.equal((await watch('actuators/kitchen/fan')).stdout, 'actuators/kitchen/fan {"on":true}\n')

  const link = (online: boolean) => client.call('/api/v1/link', { method: 'POST', body: { online } })
  const uplink = async () => (await client.call<Status>('/api/v1/status')).uplinks[0]
  const cut = npm.mark
  await link(false)
  t.equal((await uplink())?.state, 'offline')
  // The screen looks twice a second: what is restored before it saw the cut is no news to it.
  await npm.line(/cloud offline/, cut)
  const mark = npm.mark
  const waiting = async () => (await client.call<Buffered>('/api/v1/buffer')).uplinks[0]?.records ?? 0
  await until(client, async () => (await waiting()) > 0)
  const restoredAt = Date.now()
  await link(true)
  await npm.line(/cloud connected/, mark)
  await until(client, async () => ((await uplink())?.lastAckAt ?? 0) > restoredAt)
  const answer = await new ApiClient({ url: new URL(`http://127.0.0.1:${ready.cloud}`), name: 'cloud' }).call<
    unknown[]
  >('/v1/devices')
  t.equal(answer.length, 1)
  t.notMatch(JSON.stringify(answer), /"gaps":[1-9]/)

  const [manifest = ''] = blocks('yaml')
  const [source = ''] = blocks('ts')
  const files = [...readme.matchAll(/^\*\*functions\/(\S+)\*\*$/gm)].map(([, path = '']) =>
    join(functions, path),
  )
  t.equal(files.length, 2)
  await mkdir(dirname(files[0] ?? ''))
  await writeFile(files[0] ?? '', manifest)
  await writeFile(files[1] ?? '', source)
  const loaded = async () =>
    (await client.call<{ name: string }[]>('/api/v1/functions')).some(each => each.name === 'door-light')
  await until(client, loaded)
  const light = watch('actuators/hall/light')
  await type(commandsLike('mosquitto_pub -p').find(line => line.includes('sensors/door')) ?? '')
  t.equal((await light).stdout, 'actuators/hall/light {"on":true}\n')

  const stopping = performance.now()
  npm.child.kill('SIGTERM')
  t.equal(await npm.exited, 0)
  t.ok(performance.now() - stopping < 5_000)
})
