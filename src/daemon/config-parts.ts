/** What each part takes of the configuration: at the start, and again when it changes. */
import type { Logger } from '#base/logger.ts'
import type { BrokerChange } from '#broker/broker-options.ts'
import type { DeviceConfig } from '#config/device-config.ts'
import type { Devices } from '#config/devices.ts'
import type { InvokerChange } from '#invoker/invoker.ts'
import type { RouterOptions } from '#router/router.ts'
import type { LogLimits } from '#store/commit-log.ts'
import type { UplinkChange } from '#uplink/uplink.ts'

export function routerChange({
  durability,
  limits,
}: DeviceConfig): Pick<RouterOptions, 'durability' | 'blockMs'> {
  return { durability, blockMs: limits.blockMs }
}

export function uplinkChange({ uplinks, routes, limits }: DeviceConfig): UplinkChange {
  return { uplinks, routes, outbox: limits.outbox }
}

export function invokerChange({ functions, limits }: DeviceConfig): InvokerChange {
  return {
    functionsFolder: functions,
    inboxMaxBytes: limits.inboxMaxBytes,
    deadLettersMaxBytes: limits.deadLettersMaxBytes,
  }
}

export function brokerChange({ limits, mqtt, tls }: DeviceConfig): BrokerChange {
  return {
    limits: { maxPacketBytes: mqtt.maxPacketBytes, blockMs: limits.blockMs },
    sessionLimits: {
      log: {
        maxBytes: limits.sessionMaxBytes,
        maxAgeMs: limits.sessionExpiryMs,
        overflow: 'drop-oldest',
      },
      expiryMs: limits.sessionExpiryMs,
    },
    tls,
  }
}

export function ledgerLimits({ limits }: DeviceConfig): LogLimits {
  return { maxBytes: limits.ledgerMaxBytes, overflow: 'drop-oldest' }
}

export function uplinkOptions(config: DeviceConfig, logger: Logger) {
  return { device: config.device, ...uplinkChange(config), logger: logger.child({ part: 'uplink' }) }
}

export function brokerOptions(config: DeviceConfig, logger: Logger, users: Devices) {
  const { tls, ...bounds } = brokerChange(config)
  return {
    users,
    logger: logger.child({ part: 'broker' }),
    host: config.mqtt.host,
    port: config.mqtt.port,
    ...(tls && { tls }),
    ...bounds,
    willGraceMs: config.limits.willGraceMs,
  }
}
