/** A card that is given a name: what moves where, what never happens twice, and which layer it is. */
import { mkdir, mkdtempDisposable, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FescueError } from '#base/errors.ts'
import { adoptBootFile, identityPath } from '#config/identity.ts'
import { loadConfig } from '#config/load-config.ts'

const bootText = `# Written on a PC.
device: greenhouse-7
token: s3cret-of-the-card
url: https://cloud.example/v1/events
`

async function card(t: Test, text = bootText) {
  const folder = await mkdtempDisposable(join(tmpdir(), 'fescue-boot-'))
  t.teardown(() => folder.remove())
  const data = join(folder.path, 'data')
  const boot = join(folder.path, 'fescue.yaml')
  await mkdir(data, { mode: 0o700 })
  await writeFile(boot, text)
  const config = (file?: string, environment: Record<string, string> = {}) =>
    loadConfig({ file, environment, flags: { data }, cwd: folder.path })
  return { folder: folder.path, data, boot, config, tokenFile: join(data, 'uplink-token') }
}

t.test('name, cloud and token move into the data folder, and the token leaves the boot file', async t => {
  const { data, boot, config, tokenFile } = await card(t)
  t.same(await adoptBootFile(boot, data), { kind: 'adopted', device: 'greenhouse-7', tokenMoved: true })
  for (const file of [tokenFile, identityPath(data)]) t.equal((await stat(file)).mode & 0o777, 0o600)
  t.equal(
    await readFile(boot, 'utf8'),
    bootText.replace(/^token.*$/m, '# The token was moved into the data folder.'),
  )
  const { config: read, originOf } = await config()
  t.equal(read.device, 'greenhouse-7')
  t.match(read.uplinks, [
    { name: 'default', url: 'https://cloud.example/v1/events', token: 's3cret-of-the-card' },
  ])
  t.match(originOf(['device']).where, /identity\.yaml:1:/)
})

t.test('an identity is never replaced', async t => {
  const { data, boot, config } = await card(t)
  await adoptBootFile(boot, data)
  const other = bootText.replace('greenhouse-7', 'thief')
  await writeFile(boot, other)
  t.same(await adoptBootFile(boot, data), { kind: 'refused', identityFile: identityPath(data) })
  t.equal(await readFile(boot, 'utf8'), other, 'the file is as it was')
  t.equal((await config()).config.device, 'greenhouse-7')
})

t.test('a power cut before the token was removed: the next start removes it', async t => {
  const { data, boot } = await card(t)
  await adoptBootFile(boot, data)
  await writeFile(boot, bootText)
  t.same(await adoptBootFile(boot, data), { kind: 'known', tokenMoved: true })
  t.notMatch(await readFile(boot, 'utf8'), 's3cret')
  t.same(await adoptBootFile(boot, data), { kind: 'known', tokenMoved: false })
})

t.test('the config file and variables go before it, key by key', async t => {
  const { folder, data, boot, config } = await card(t)
  await adoptBootFile(boot, data)
  const file = join(folder, 'own.yaml')
  await writeFile(file, 'uplink:\n  url: https://other.example/v1/events\n')
  const { config: read } = await config(file, { FESCUE_DEVICE: 'shed' })
  t.equal(read.device, 'shed')
  t.match(read.uplinks, [{ url: 'https://other.example/v1/events', token: 's3cret-of-the-card' }])
  await writeFile(file, 'uplinks:\n  default:\n    url: https://third.example/v1/events\n')
  t.match((await config(file)).config.uplinks, [{ url: 'https://third.example/v1/events', token: undefined }])
})

t.test('a token without a cloud waits for one', async t => {
  const { folder, data, boot, config } = await card(t, 'device: shed\ntoken: waiting\n')
  await adoptBootFile(boot, data)
  t.same((await config()).config.uplinks, [])
  const file = join(folder, 'own.yaml')
  await writeFile(file, 'uplink:\n  url: https://cloud.example/v1/events\n')
  t.match((await config(file)).config.uplinks, [{ token: 'waiting' }])
})

t.test('what the file says wrongly changes nothing', async t => {
  const wrong: Record<string, RegExp> = {
    'name: x\n': /:1:1: unknown key name: this file takes device, url and token/,
    'device: no spaces\n': /device must be 1 to 64 of/,
    'device: 7\n': /device must be a text/,
    'url: ftp://x\n': /url must begin with/,
    'token: "two words"\n': /token must be one word/,
    '{ device: a, token: b }\n': /write the token as a line/,
    'device: [\n': /fescue\.yaml:/,
  }
  for (const [text, message] of Object.entries(wrong)) {
    const { data, boot } = await card(t, text)
    await t.rejects(adoptBootFile(boot, data), { code: 'FESCUE_CONFIG_INVALID', message }, text)
    t.equal(await readFile(boot, 'utf8'), text)
    await t.rejects(stat(identityPath(data)), { code: 'ENOENT' })
  }
  const { data, boot } = await card(t, `# ${'x'.repeat(20_000)}\n`)
  await t.rejects(adoptBootFile(boot, data), FescueError, 'a file past its bound is not read')
})
