/** Device users: passwords, the file that holds them, and what a crash or a second process may do to it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtempDisposable, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Devices } from '#config/devices.ts'
import { openSecret } from '#config/secret.ts'
import { openToken } from '#config/token.ts'

async function folderOf() {
  const folder = await mkdtempDisposable(join(tmpdir(), 'fescue-devices-'))
  const secret = await openSecret(folder.path)
  return {
    path: folder.path,
    secret,
    open: () => Devices.open({ dataFolder: folder.path, secret }),
    [Symbol.asyncDispose]: () => folder.remove(),
  }
}

async function modeOf(file: string): Promise<string> {
  return ((await stat(file)).mode & 0o777).toString(8)
}

t.test('a device connects with the password it was given, and with no other', async t => {
  await using folder = await folderOf()
  const devices = await folder.open()
  t.equal(devices.size, 0)
  const password = await devices.add('kitchen')
  t.match(password, /^[A-Za-z0-9_-]{22}$/, '16 random bytes as base64url')
  t.equal(devices.size, 1)
  t.equal(await devices.verify('kitchen', password), 'kitchen')
  t.equal(await devices.verify('kitchen', Buffer.from(password)), 'kitchen')
  t.equal(await devices.verify('kitchen', `${password}x`), undefined)
  t.equal(await devices.verify('kitchen', ''), undefined)
  t.equal(await devices.verify('garage', password), undefined)
  t.equal(await devices.verify('__proto__', password), undefined)
  t.notMatch(await readFile(join(folder.path, 'devices.json'), 'utf8'), password, 'it is stored nowhere')
  await t.rejects(devices.add('kitchen'), { code: 'FESCUE_CONFLICT' })
  await t.rejects(devices.add('a b'), { code: 'FESCUE_NAME_INVALID' })
})

t.test('another secret makes all passwords wrong', async t => {
  await using folder = await folderOf()
  const password = await (await folder.open()).add('kitchen')
  const other = await Devices.open({ dataFolder: folder.path, secret: Buffer.alloc(32, 7) })
  t.equal(await other.verify('kitchen', password), undefined)
})

t.test('users of the config connect as well, and keep their names', async t => {
  await using folder = await folderOf()
  const users = [{ name: 'gate', password: 'from a file' }]
  const devices = await Devices.open({ dataFolder: folder.path, secret: folder.secret, users })
  t.equal(devices.size, 1)
  t.equal(await devices.verify('gate', 'from a file'), 'gate')
  t.equal(await devices.has('gate'), true)
  await t.rejects(devices.add('gate'), { code: 'FESCUE_CONFLICT' })
})

t.test('what another process adds or revokes counts at the next verification', async t => {
  await using folder = await folderOf()
  let now = 0
  const daemon = await Devices.open({ dataFolder: folder.path, secret: folder.secret, monotonic: () => now })
  const tool = await folder.open()
  const password = await tool.add('kitchen')
  now += 1_000
  t.equal(await daemon.verify('kitchen', password), 'kitchen')
  await tool.revoke('kitchen')
  now += 1_000
  t.equal(await daemon.verify('kitchen', password), undefined)
  t.equal(await daemon.has('kitchen'), false)
})

t.test('revoking an unknown device names the nearest', async t => {
  await using folder = await folderOf()
  const devices = await folder.open()
  await devices.add('kitchen')
  await t.rejects(devices.revoke('kichen'), { code: 'FESCUE_NOT_FOUND', message: /did you mean "kitchen"/ })
})

t.test('two writers at once keep both devices', async t => {
  await using folder = await folderOf()
  const [one, two] = [await folder.open(), await folder.open()]
  await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? one : two).add(`d${i}`)))
  t.equal((await folder.open()).size, 20)
})

t.test('a kill between write and rename leaves the old file, and the next write cleans up', async t => {
  await using folder = await folderOf()
  const devices = await folder.open()
  const password = await devices.add('kitchen')
  const before = await readFile(join(folder.path, 'devices.json'), 'utf8')
  const child = spawn(process.execPath, [join(import.meta.dirname, 'die-at-rename.ts'), folder.path], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const [, signal] = await once(child, 'exit')
  t.equal(signal, 'SIGKILL')
  const leftOver = (await readdir(folder.path)).filter(name => name.startsWith('.devices.json.tmp.'))
  t.equal(leftOver.length, 1, 'the new content had been written')
  t.equal(await readFile(join(folder.path, 'devices.json'), 'utf8'), before)
  const reopened = await folder.open()
  t.equal(await reopened.verify('kitchen', password), 'kitchen')
  await reopened.add('garage')
  t.same((await readdir(folder.path)).sort(), ['devices.json', 'secret'])
})

t.test('secret, token and devices are readable by their owner alone, whatever the umask', async t => {
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))
  await using folder = await folderOf()
  await openToken(folder.path)
  await (await folder.open()).add('kitchen')
  for (const name of ['secret', 'token', 'devices.json'])
    t.equal(await modeOf(join(folder.path, name)), '600', name)
  await chmod(join(folder.path, 'token'), 0o644)
  await openToken(folder.path)
  t.equal(await modeOf(join(folder.path, 'token')), '600', 'a wider mode is tightened')
})

t.test('secret and token are made once, by whoever comes first', async t => {
  await using folder = await folderOf()
  const tokens = await Promise.all(Array.from({ length: 10 }, () => openToken(folder.path)))
  t.equal(new Set(tokens).size, 1)
  t.match(tokens[0], /^[A-Za-z0-9_-]{32}$/)
  t.equal(await openToken(folder.path), tokens[0])
  const secrets = await Promise.all(Array.from({ length: 10 }, () => openSecret(folder.path)))
  for (const secret of secrets) t.ok(secret.equals(folder.secret))
})

t.test('damaged files are named with the mend; a daemon that knows its devices goes on', async t => {
  await using folder = await folderOf()
  let now = 0
  const daemon = await Devices.open({ dataFolder: folder.path, secret: folder.secret, monotonic: () => now })
  const password = await daemon.add('kitchen')
  await writeFile(join(folder.path, 'devices.json'), '{"devices": [{"name": 1}]}')
  now += 1_000
  t.equal(await daemon.verify('kitchen', password), 'kitchen')
  await t.rejects(folder.open(), { code: 'FESCUE_CONFIG_UNREADABLE', message: /devices\.json is damaged/ })
  await writeFile(join(folder.path, 'secret'), 'short')
  await t.rejects(openSecret(folder.path), {
    code: 'FESCUE_CONFIG_UNREADABLE',
    message: /5 bytes instead of 32/,
  })
  await writeFile(join(folder.path, 'token'), 'abc\n')
  await t.rejects(openToken(folder.path), { code: 'FESCUE_CONFIG_UNREADABLE', message: /at least 16/ })
})
