/**
 * A sensor on another machine, as the README's second step has it: another network namespace, a cable (veth)
 * between, a device's password.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { mainFile, root, startFescue } from '../harness/processes.ts'

const run = promisify(execFile)
const suffix = process.pid % 60_000
const namespace = `fescue-${suffix}`
/** A /30 of our own out of 10.213.0.0/16. */
const [here, there] = [1, 2].map(host => `10.213.${suffix >> 8}.${((suffix & 63) << 2) + host}`)

/** Why this cannot run here, or undefined. */
async function obstacle(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'needs root for a network namespace'
  try {
    await run('mosquitto_pub', ['--help']).catch(error => {
      if (error.code === 'ENOENT') throw new Error('needs mosquitto-clients')
    })
    await run('ip', ['netns', 'add', namespace])
    return undefined
  } catch (error) {
    return `no network namespace: ${error instanceof Error ? error.message.trim() : error}`
  }
}

async function connectNamespace(): Promise<void> {
  const [near, far] = [`fn${suffix}`, `ff${suffix}`]
  await run('ip', ['link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', namespace])
  await run('ip', ['addr', 'add', `${here}/30`, 'dev', near])
  await run('ip', ['link', 'set', near, 'up'])
  await run('ip', ['-n', namespace, 'addr', 'add', `${there}/30`, 'dev', far])
  await run('ip', ['-n', namespace, 'link', 'set', far, 'up'])
}

const fescue = (...args: string[]) => run(process.execPath, [mainFile, ...args], { cwd: root })

const skip = await obstacle()
if (skip === undefined) {
  // The cable goes with the namespace that holds its other end.
  t.teardown(() => run('ip', ['netns', 'delete', namespace]))
}

t.test(
  'a sensor on another machine connects with the password of its device',
  { skip: skip ?? false },
  async t => {
    await connectNamespace()
    await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-network-'))
    const data = join(folder.path, 'data')
    const functions = join(folder.path, 'functions')
    await mkdir(functions)
    const args = ['start', '--data', data, '--functions', functions, '--mqtt-port', '0', '--http-port', '0']
    const network = { FESCUE_MQTT_HOST: '0.0.0.0' }

    await t.rejects(startFescue(args, [], network), /devices add/, 'refused while there is no device')

    const password = (await fescue('devices', 'add', 'kitchen-sensor', '--data', data)).stdout.trim()
    const daemon = await startFescue(args, [], network)
    t.teardown(() => daemon.kill())
    const refused = /bad user name or password|not authori[sz]ed/i
    const publish = (word: string) => {
      const login = ['-h', String(here), '-p', String(daemon.ready.mqtt), '-u', 'kitchen-sensor', '-P', word]
      const message = ['-q', '1', '-r', '-t', 'sensors/kitchen/temperature', '-m', '{"celsius":31}']
      return run('ip', ['netns', 'exec', namespace, 'mosquitto_pub', ...login, ...message])
    }

    await t.rejects(publish('wrong'), refused, 'a wrong password is refused')
    await publish(password)
    const seen = await run('ip', [
      ...['netns', 'exec', namespace, 'mosquitto_sub', '-h', String(here), '-p', String(daemon.ready.mqtt)],
      ...['-u', 'kitchen-sensor', '-P', password, '-t', 'sensors/#', '-C', '1', '-W', '5'],
    ])
    t.equal(seen.stdout, '{"celsius":31}\n', 'what it published is there')

    await fescue('devices', 'revoke', 'kitchen-sensor', '--data', data)
    await t.rejects(publish(password), refused, 'a revoked device is refused')
    t.equal(await daemon.stop(), 0)
  },
)
