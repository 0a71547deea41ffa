/**
 * `fescue devices`: the devices that may connect over MQTT, with a password each.
 *
 * Through the daemon when one runs; else in the data folder, so that a device can be added before the first
 * start (a daemon refuses to listen on the network without one).
 */
import { mkdir } from 'node:fs/promises'
import { Command } from 'commander'
import { FescueError } from '#base/errors.ts'
import { nearest } from '#base/nearest.ts'
import type { ApiClient } from './api-client.ts'
import { dataFolder, findDaemon, type TargetOptions, withTarget } from './daemon-target.ts'
import { writeTable } from './table.ts'
import type { Terminal } from './terminal.ts'

interface DevicesOptions extends TargetOptions {
  readonly json?: boolean
}

interface DeviceEntry {
  readonly name: string
  readonly createdAt: string
}

/** What the daemon and the data folder both offer. */
interface DeviceBook {
  list(): Promise<readonly DeviceEntry[]>
  add(name: string): Promise<string>
  revoke(name: string): Promise<void>
}

const help = `
Examples:
  fescue devices add kitchen-sensor          prints the password, once
  fescue devices list
  fescue devices revoke kitchen-sensor       its connection is closed

They work without a running daemon too: --data DIR says for which.`

export function build(terminal: Terminal): Command {
  const command = new Command('devices')
    .description('The devices that may connect over MQTT.')
    .usage('add|list|revoke [options] [name]')
    .addHelpText('after', help)
  const verb = (name: string, description: string) =>
    withTarget(command.command(name).description(description)).option('--json', 'as JSON')
  verb('add', 'Adds a device and prints its password.')
    .argument('<name>', 'the user name that the device connects with')
    .action((name: string, options: DevicesOptions) => add(name, options, terminal))
  verb('list', 'Lists the devices.').action((options: DevicesOptions) => list(options, terminal))
  verb('revoke', 'Removes a device.')
    .argument('<device>', 'the device')
    .action((name: string, options: DevicesOptions) => revoke(name, options, terminal))
  return command
}

async function add(name: string, options: DevicesOptions, terminal: Terminal): Promise<void> {
  const password = await withBook(options, terminal, book => book.add(name))
  if (options.json === true) {
    terminal.stdout.write(`${JSON.stringify({ name, password })}\n`)
    return
  }
  terminal.stderr.write(
    `The device connects with user name "${name}" and this password, which is not shown again:\n`,
  )
  terminal.stdout.write(`${password}\n`)
}

async function list(options: DevicesOptions, terminal: Terminal): Promise<void> {
  const devices = await withBook(options, terminal, book => book.list())
  if (options.json === true) terminal.stdout.write(`${JSON.stringify(devices)}\n`)
  else if (devices.length === 0) terminal.stderr.write('There are no devices yet: fescue devices add NAME\n')
  else
    writeTable(
      terminal.stdout,
      ['device', 'added'],
      devices.map(({ name, createdAt }) => [name, createdAt]),
    )
}

async function revoke(name: string, options: DevicesOptions, terminal: Terminal): Promise<void> {
  await withBook(options, terminal, book => book.revoke(name))
  if (options.json === true) terminal.stdout.write(`${JSON.stringify({ name, revoked: true })}\n`)
  else terminal.stderr.write(`The device "${name}" cannot connect any more.\n`)
}

/** Does it through the daemon, and in the data folder when none answers there. */
async function withBook<Result>(
  options: DevicesOptions,
  terminal: Terminal,
  action: (book: DeviceBook) => Promise<Result>,
): Promise<Result> {
  try {
    return await action(bookOfDaemon(await findDaemon(options, terminal)))
  } catch (error) {
    const absent = error instanceof FescueError && error.code === 'FESCUE_DAEMON_UNREACHABLE'
    if (!absent || options.url !== undefined) throw error
  }
  const folder = await dataFolder(options, terminal)
  const result = await action(await bookOfFolder(folder))
  if (options.data === undefined && options.json !== true)
    terminal.stderr.write(
      `No daemon answered, so this is of the data folder ${folder}; --data DIR names another.\n`,
    )
  return result
}

function bookOfDaemon(client: ApiClient): DeviceBook {
  const path = '/api/v1/devices'
  return {
    list: () => client.call<DeviceEntry[]>(path),
    add: async name => {
      const added = await client.call<{ password: string }>(path, { method: 'POST', body: { name } })
      return added.password
    },
    revoke: name => client.call(`${path}/${encodeURIComponent(name)}`, { method: 'DELETE' }),
  }
}

/** Only `add` makes files: looking at a folder leaves it as it is. */
async function bookOfFolder(folder: string): Promise<DeviceBook> {
  const [{ Devices }, { openSecret }] = await Promise.all([
    import('#config/devices.ts'),
    import('#config/secret.ts'),
  ])
  // No password is looked at without the secret.
  const known = await Devices.open({ dataFolder: folder, secret: Buffer.alloc(0) })
  return {
    list: () => Promise.resolve(known.list()),
    add: async name => {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const devices = await Devices.open({ dataFolder: folder, secret: await openSecret(folder) })
      return devices.add(name)
    },
    revoke: async name => {
      if (known.list().some(device => device.name === name)) return known.revoke(name)
      const near = nearest(
        name,
        known.list().map(device => device.name),
      )
      const mend = near === undefined ? 'see fescue devices list' : `did you mean "${near}"?`
      throw new FescueError('FESCUE_NOT_FOUND', `there is no device "${name}": ${mend}`)
    },
  }
}
