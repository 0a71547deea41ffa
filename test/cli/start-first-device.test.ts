import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { addFirstDevice } from '#cli/start-first-device.ts'
import { Devices } from '#config/devices.ts'
import { loadConfig } from '#config/load-config.ts'
import { openSecret } from '#config/secret.ts'

t.test('a device is added when there is no user at all, and only then', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-first-'))
  const data = join(folder.path, 'data')
  const load = (users: string) =>
    loadConfig({ file: undefined, environment: { FESCUE_USERS: users }, flags: { data }, cwd: '/' })
  const { config } = await load('[]')
  t.equal(
    await addFirstDevice((await load('[{ name: own, password: long-enough }]')).config, 'sensor'),
    undefined,
  )
  const password = await addFirstDevice(config, 'sensor')
  t.match(password, /^\S{20,}$/)
  t.equal(await addFirstDevice(config, 'sensor'), undefined)
  t.equal(await addFirstDevice(config, 'other'), undefined)
  const devices = await Devices.open({ dataFolder: data, secret: await openSecret(data) })
  t.ok(await devices.verify('sensor', password ?? ''))
})
