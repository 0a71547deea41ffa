/** The mqtt connector against a real mosquitto: what arrives, in which order, and what a broker's refusals become. */
import t from 'tap'
import type { MqttUplinkConfig, UplinkConfig } from '#config/device-config.ts'
import { need } from '../harness/need.ts'
import { collect, firsts, startMosquitto } from '../harness/brokers.ts'
import { range, routeAll, startDevice, temporary, until } from '../fakes/uplink-rig.ts'

const skip = need('mosquitto')

function mqttUplink(url: string, more: Partial<MqttUplinkConfig> = {}, tls: UplinkConfig['tls'] = {}): UplinkConfig {
  return {
    name: 'cloud',
    connector: 'mqtt',
    url,
    token: undefined,
    tls,
    mqtt: {
      clientId: 'pi',
      username: undefined,
      password: undefined,
      topic: '{topic}',
      format: 'raw',
      downlink: [],
      ...more,
    },
  }
}

t.test('records leave in order, the payload as it is, with their id', { skip }, async t => {
  await using dir = await temporary()
  await using broker = await startMosquitto({ folder: dir.path })
  await using cloud = await collect(broker.url, 'site/#')
  const uplinks = [mqttUplink(broker.url, { topic: 'site/{device}/{topic}' })]
  await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks })
  await device.publish('sensors/raw', Buffer.from([0xff, 0]), { hops: 2, expiresAt: Date.now() + 60_000 })
  await device.count(0, 1_000)
  await device.drained()
  await until(() => cloud.packets.length === 1_001)
  const { epoch } = device.store
  const incarnation = device.store.findLog('outbox.all.5')?.incarnation
  t.match(cloud.packets[0], {
    topic: 'site/pi/sensors/raw',
    payload: Buffer.from([0xff, 0]),
    properties: {
      messageExpiryInterval: 60,
      userProperties: { 'fescue-id': `pi/${epoch}/outbox.all.${incarnation}/0`.replace('all.', 'all.5.'), 'fescue-hops': '2' },
    },
  })
  t.same(
    cloud.packets.slice(1).map(({ payload }) => JSON.parse(payload.toString()).n),
    range(0, 1_000),
  )
  t.match(device.uplink.status().links, [{ link: { state: 'connected' }, queuedRecords: 0, sentRecords: 1_001 }])
})
