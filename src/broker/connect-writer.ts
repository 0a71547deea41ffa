/** CONNECT as it is handed to aedes, and CONNACK as the client gets it (MQTT 3.1.1 sections 3.1 and 3.2). */
import mqtt, { type IConnectPacket } from 'mqtt-packet'
import type { Connect } from './packet-check.ts'

// Its cache of the numbers up to 65,535 takes 8 MB, for the few packets that it writes here and in aedes.
mqtt.writeToStream.cacheNumbers = false

/**
 * The CONNECT for aedes: checked, with an id, and without keep-alive (which the connection keeps) and password
 * (which it has taken).
 */
export function encodeConnect(connect: Connect): Buffer {
  const { level, clientId, clean, will, username } = connect
  const packet: IConnectPacket = {
    cmd: 'connect',
    protocolId: level === 3 ? 'MQIsdp' : 'MQTT',
    protocolVersion: level,
    clientId,
    clean,
    keepalive: 0,
  }
  if (will !== undefined) packet.will = will
  if (username !== undefined && username !== '') packet.username = username
  return mqtt.generate(packet)
}

export function encodeConnack(returnCode: number, present = false): Buffer {
  return Buffer.of(0x20, 2, present ? 1 : 0, returnCode)
}
