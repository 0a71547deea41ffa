/** What differs between two configs, what a running daemon can take of it, and that every key is decided. */
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { changesBetween, effectOf } from '#config/config-changes.ts'
import { settablePaths } from '#config/layers.ts'
import { loadConfig } from '#config/load-config.ts'

const load = async (environment: Record<string, string>, cwd = '/srv') =>
  loadConfig({ file: undefined, environment, cwd })
const changes = async (before: Record<string, string>, after: Record<string, string>) =>
  changesBetween(await load(before), await load(after))

t.test('every key is decided: the list of those that need a restart is this one', async t => {
  const restart = settablePaths().filter(path => effectOf(path) === 'restart')
  t.same(
    restart.map(path => path.join('.')),
    ['device', 'data', 'mqtt.host', 'mqtt.port', 'tls.ca', 'http.host', 'http.port', 'http.hosts'],
    'a new key needs a decision: in liveKeys of config-changes.ts, with an update of its part, or here',
  )
})

t.test('the same config has no changes, however it is written', async t => {
  t.same(await changes({}, {}), [])
  t.same(await changes({}, { FESCUE_MQTT_PORT: '1883' }), [], 'a default that is written out')
  t.same(await changes({ FESCUE_DATA: 'data' }, { FESCUE_DATA: '/srv/data' }), [], 'the same path')
})

t.test('a change has its key, its effect and where it comes from', async t => {
  const found = await changes(
    { FESCUE_ROUTES: '[{filter: a/#}, {name: x, filter: b}]', FESCUE_UPLINK_URL: 'http://one' },
    {
      FESCUE_ROUTES: '[{name: x, filter: c}, {filter: d}]',
      FESCUE_UPLINK_URL: 'http://two',
      FESCUE_MQTT_PORT: '1',
      FESCUE_LIMITS_WILL_GRACE: '1s',
      FESCUE_LOG_LEVEL: 'debug',
    },
  )
  t.same(found, [
    { key: 'mqtt.port', effect: 'restart', where: 'FESCUE_MQTT_PORT' },
    { key: 'uplink.url', effect: 'live', where: 'FESCUE_UPLINK_URL' },
    { key: 'routes', effect: 'live', where: 'FESCUE_ROUTES', detail: 'added d; removed a.all; changed x' },
    { key: 'limits.willGrace', effect: 'next-start', where: 'FESCUE_LIMITS_WILL_GRACE' },
    { key: 'log.level', effect: 'live', where: 'FESCUE_LOG_LEVEL' },
  ])
})

t.test('a secret in a file that is another one now is a change, and stays hidden', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-changes-'))
  const environment = {
    FESCUE_UPLINKS: '{a: {url: "http://x", tokenFile: token}}',
    FESCUE_USERS: '[{name: u, passwordFile: token}]',
  }
  await writeFile(join(folder.path, 'token'), 'hush-1')
  const before = await load(environment, folder.path)
  await writeFile(join(folder.path, 'token'), 'hush-2')
  const found = changesBetween(before, await load(environment, folder.path))
  t.match(found, [
    { key: 'uplinks', effect: 'live', detail: 'changed a' },
    { key: 'users', effect: 'live', detail: 'changed u' },
  ])
  t.notMatch(JSON.stringify(found), /hush/)
})

t.test('a listener does not begin or cease to speak TLS; another certificate it takes', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-changes-'))
  for (const name of ['a', 'b']) await writeFile(join(folder.path, name), 'pem')
  const tls = (cert: string) => ({ FESCUE_TLS_CERT: cert, FESCUE_TLS_KEY: 'a' })
  const plain = await load({}, folder.path)
  const one = await load(tls('a'), folder.path)
  t.match(changesBetween(plain, one), [{ effect: 'restart' }, { effect: 'restart' }])
  t.match(changesBetween(one, plain), [{ effect: 'restart' }, { effect: 'restart' }])
  t.match(changesBetween(one, await load(tls('b'), folder.path)), [{ key: 'tls.cert', effect: 'live' }])
})
