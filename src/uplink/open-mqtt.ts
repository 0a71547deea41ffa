/** Makes the connector of an MQTT uplink with its downlink: the one file that is imported when there is one. */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'
import type { Metrics } from '#base/metrics.ts'
import type { MqttUplinkConfig, UplinkConfig } from '#config/device-config.ts'
import type { Router } from '#router/router.ts'
import type { Store } from '#store/store.ts'
import { Downlink } from './downlink.ts'
import { MqttConnector } from './mqtt-connector.ts'
import { Redelivery } from './redelivery.ts'

export interface MqttParts {
  readonly store: Store
  readonly router: Router
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  readonly device: string
}

export function openMqtt(parts: MqttParts, uplink: UplinkConfig, mqtt: MqttUplinkConfig): MqttConnector {
  const { store, router, clock, logger, metrics, device } = parts
  const base = { device, uplink, mqtt, clock, logger }
  if (mqtt.downlink.length === 0) return new MqttConnector({ ...base, down: undefined })
  const redelivery = new Redelivery(store, uplink.name)
  const { name } = uplink
  const downlink = new Downlink({
    uplink: name,
    downlink: mqtt.downlink,
    store,
    router,
    clock,
    logger,
    metrics,
    redelivery,
  })
  return new MqttConnector({ ...base, down: { downlink, redelivery, store } })
}
