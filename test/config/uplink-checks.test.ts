/** Uplinks in the config: what an mqtt one becomes, and what is told when keys do not go together. */
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { FescueError } from '#base/errors.ts'
import type { UplinkConfig } from '#config/device-config.ts'
import { loadConfig } from '#config/load-config.ts'

async function uplinksOf(text: string): Promise<readonly UplinkConfig[]> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-config-'))
  const file = join(folder.path, 'fescue.yaml')
  await writeFile(join(folder.path, 'password'), 'p w\n')
  await writeFile(file, text)
  const { config } = await loadConfig({ file, environment: {}, cwd: '/srv' })
  return config.uplinks
}

async function refusal(text: string): Promise<string[]> {
  try {
    await uplinksOf(text)
  } catch (error) {
    if (error instanceof FescueError)
      return error.message.split('\n').map(line => line.replace(/^.*fescue\.yaml:\d+:\d+: /, ''))
    throw error
  }
  return []
}

t.test('an mqtt uplink with its defaults, and with everything', async t => {
  t.match(await uplinksOf('device: pi\nuplink: {connector: mqtt, url: "mqtt://b.example.com"}'), [
    {
      name: 'default',
      connector: 'mqtt',
      mqtt: {
        clientId: 'pi',
        username: undefined,
        password: undefined,
        topic: '{topic}',
        format: 'raw',
        downlink: [],
      },
    },
  ])
  const text = `
uplinks:
  cloud:
    connector: mqtt
    url: mqtts://b.example.com:8883
    clientId: greenhouse-1
    username: pi
    passwordFile: password
    topic: sites/{device}/{topic}
    format: cloudevents
    qos: 1
    downlink: [{ filter: commands/# , prefix: cloud/ }, { filter: config }]
`
  t.match(await uplinksOf(text), [
    {
      url: 'mqtts://b.example.com:8883',
      mqtt: {
        clientId: 'greenhouse-1',
        username: 'pi',
        password: 'p w',
        topic: 'sites/{device}/{topic}',
        format: 'cloudevents',
        downlink: [
          { filter: 'commands/#', prefix: 'cloud/' },
          { filter: 'config', prefix: '' },
        ],
      },
    },
  ])
})

t.test('what does not go together is told with its mend', async t => {
  const mqtt = 'connector: mqtt, url: "mqtt://b"'
  const cases: [uplink: string, message: string][] = [
    ['url: "mqtt://b"', 'uplink.url does not go with connector http: add connector: mqtt'],
    [
      'connector: mqtt, url: "http://b"',
      'uplink.url does not go with connector mqtt: use mqtt:// or mqtts://',
    ],
    [
      'connector: mqtt, url: "mqtt://me:pw@b"',
      'uplink.url holds a user name: use the keys username and passwordFile',
    ],
    [`${mqtt}, tls: {ca: password}`, 'uplink.tls has no effect on an mqtt:// url: use mqtts://'],
    [`${mqtt}, token: x`, 'uplink.token is for connector http only: remove it'],
    ['url: "http://b", topic: "{topic}"', 'uplink.topic is for connector mqtt only: remove it'],
    ['url: "http://b", downlink: [{filter: a}]', 'uplink.downlink is for connector mqtt only: remove it'],
    [
      `${mqtt}, password: x, passwordFile: password, username: me`,
      'uplink.password and passwordFile exclude each other: remove one of them',
    ],
    [`${mqtt}, password: x`, 'uplink.username is missing, and there is a password'],
    [`${mqtt}, topic: "a/{filter}/{topic}"`, 'uplink.topic knows {topic} and {device} only'],
    [`${mqtt}, topic: "a/#/{topic}"`, 'uplink.topic contains a wildcard [MQTT-3.3.2-2]'],
    [`${mqtt}, topic: a`, 'uplink.topic needs {topic}, or format: cloudevents, which holds the topic'],
    [`${mqtt}, qos: 2`, 'uplink.qos must be one of 1, not 2'],
    [
      `${mqtt}, downlink: [{filter: a/#/b}]`,
      'uplink.downlink[0].filter "a/#/b" "#" stands only alone in the last level [MQTT-4.7.1-2]',
    ],
    [
      `${mqtt}, downlink: [{filter: a, prefix: "+/"}]`,
      'uplink.downlink[0].prefix contains a wildcard [MQTT-3.3.2-2]',
    ],
    [
      `${mqtt}, downlink: [{filter: a/+}, {filter: "a/#"}]`,
      'uplink.downlink[1].filter overlaps with downlink[0]: a message would come twice',
    ],
  ]
  for (const [uplink, message] of cases) t.same(await refusal(`uplink: {${uplink}}`), [message])
})

t.test('two uplinks may not be one client to one broker', async t => {
  const two = (more: string) =>
    `uplinks:\n  a: {connector: mqtt, url: "mqtt://b:1"}\n  b: {connector: mqtt, url: "mqtt://b:1"${more}}`
  t.same(await refusal(two('')), [
    'uplinks.b has the broker and client id of uplinks.a: give one of them a clientId',
  ])
  t.equal((await uplinksOf(two(', clientId: other'))).length, 2)
})
