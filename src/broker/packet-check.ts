/**
 * What MQTT 3.1.1 says MUST be refused of control packets, checked on the bytes before aedes parses them, and the
 * decoding of CONNECT, SUBSCRIBE and UNSUBSCRIBE that goes with it. PUBLISH and acknowledgements are in
 * `packet-reader.ts`.
 *
 * A CONNECT can also be answered: `refusal` is the CONNACK return code of one that is well formed but not served.
 */
import { problemOfFilter, problemOfTopic } from '#base/topics.ts'
import type { Qos } from '#store/record.ts'
import { decodeText, malformed } from './packet-text.ts'

/** Control packet types (MQTT 3.1.1 table 2.1). */
export const packetType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
} as const

export interface Will {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
}

export interface Connect {
  /** 3 for MQTT 3.1, 4 for 3.1.1. */
  readonly level: 3 | 4
  readonly clientId: string
  readonly clean: boolean
  readonly keepAliveSeconds: number
  readonly will?: Will
  readonly username?: string
  readonly password?: Buffer
}

/** CONNACK return codes (MQTT 3.1.1 table 3.1) that this side gives. */
export const connackCode = {
  badLevel: 1,
  badClientId: 2,
  unavailable: 3,
  badCredentials: 4,
  notAuthorized: 5,
} as const

export type ConnectOutcome =
  | { readonly kind: 'connect'; readonly connect: Connect }
  | { readonly kind: 'refusal'; readonly returnCode: number; readonly reason: string }

/** Characters that a client id may have: it is kept in names, logs and documents. */
export const clientIdMaxLength = 1_024

/** Checks type and flags of a fixed header that a client may send (MQTT 3.1.1 table 2.2). */
export function checkHeader(first: number, length: number, level: 3 | 4): void {
  const type = first >> 4
  const flags = first & 15
  switch (type) {
    case packetType.publish:
      return
    case packetType.pubrel:
    case packetType.subscribe:
    case packetType.unsubscribe:
      // MQTT 3.1 section 2.1 lets these carry the DUP flag.
      if (flags !== 2 && !(level === 3 && flags === 10))
        throw malformed(`reserved flags ${flags} in type ${type} [MQTT-2.2.2-2]`)
      break
    case packetType.connect:
    case packetType.puback:
    case packetType.pubrec:
    case packetType.pubcomp:
    case packetType.pingreq:
    case packetType.disconnect:
      if (flags !== 0) throw malformed(`reserved flags ${flags} in type ${type} [MQTT-2.2.2-2]`)
      break
    default:
      throw malformed(`a client sends no packet of type ${type}`)
  }
  if ((type === packetType.pingreq || type === packetType.disconnect) && length !== 0)
    throw malformed(`type ${type} has a body of ${length} bytes`)
}

/** Reads fields one after the other; a field that passes the end is malformed. */
class Fields {
  readonly #buffer: Buffer
  readonly #end: number
  #at: number

  constructor(buffer: Buffer, from: number, end: number) {
    this.#buffer = buffer
    this.#at = from
    this.#end = end
  }

  get done(): boolean {
    return this.#at === this.#end
  }

  byte(): number {
    return this.#buffer[this.#take(1)] ?? 0
  }

  word(): number {
    const at = this.#take(2)
    return ((this.#buffer[at] ?? 0) << 8) | (this.#buffer[at + 1] ?? 0)
  }

  bytes(): Buffer {
    const length = this.word()
    const at = this.#take(length)
    return this.#buffer.subarray(at, at + length)
  }

  text(field: string): string {
    const length = this.word()
    const at = this.#take(length)
    return decodeText(this.#buffer, at, at + length, field)
  }

  packetId(): number {
    const id = this.word()
    if (id === 0) throw malformed('packet id 0 [MQTT-2.3.1-1]')
    return id
  }

  /** Errors when bytes are left. */
  finish(): void {
    if (!this.done) throw malformed(`${this.#end - this.#at} bytes after the last field`)
  }

  #take(bytes: number): number {
    const at = this.#at
    if (at + bytes > this.#end) throw malformed('a field passes the end of the packet')
    this.#at = at + bytes
    return at
  }
}

/** Decodes and checks a CONNECT's body. Errors: FESCUE_PACKET_MALFORMED. */
export function readConnect(buffer: Buffer, body: number, end: number): ConnectOutcome {
  const fields = new Fields(buffer, body, end)
  const protocol = fields.text('protocol name')
  if (protocol !== 'MQTT' && protocol !== 'MQIsdp')
    throw malformed(`protocol name "${protocol}" [MQTT-3.1.2-1]`)
  const level = fields.byte()
  if (level !== (protocol === 'MQTT' ? 4 : 3))
    return refusal(connackCode.badLevel, `protocol level ${level}: MQTT 3.1.1 is spoken here [MQTT-3.1.2-2]`)
  const flags = fields.byte()
  checkConnectFlags(flags)
  const keepAliveSeconds = fields.word()
  const clientId = fields.text('client id')
  const will = (flags & 4) === 0 ? undefined : readWill(fields, flags)
  const username = (flags & 128) === 0 ? undefined : fields.text('user name')
  const password = (flags & 64) === 0 ? undefined : fields.bytes()
  fields.finish()
  const clean = (flags & 2) !== 0
  if (clientId === '' && (!clean || level === 3))
    return refusal(connackCode.badClientId, 'an empty client id needs clean session 1 [MQTT-3.1.3-8]')
  if (clientId.length > clientIdMaxLength)
    return refusal(connackCode.badClientId, `a client id of more than ${clientIdMaxLength} characters`)
  if (will?.topic.startsWith('$SYS/') === true)
    return refusal(connackCode.notAuthorized, 'a will to $SYS/… is refused')
  return {
    kind: 'connect',
    connect: {
      level,
      clientId,
      clean,
      keepAliveSeconds,
      ...(will === undefined ? {} : { will }),
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
    },
  }
}

function refusal(returnCode: number, reason: string): ConnectOutcome {
  return { kind: 'refusal', returnCode, reason }
}

function checkConnectFlags(flags: number): void {
  if ((flags & 1) !== 0) throw malformed('the reserved CONNECT flag is set [MQTT-3.1.2-3]')
  if ((flags & 4) === 0 && (flags & 0x38) !== 0)
    throw malformed('will QoS or will retain without a will [MQTT-3.1.2-13]')
  if ((flags & 0x18) === 0x18) throw malformed('will QoS 3 [MQTT-3.1.2-14]')
  if ((flags & 128) === 0 && (flags & 64) !== 0)
    throw malformed('a password without a user name [MQTT-3.1.2-22]')
}

function readWill(fields: Fields, flags: number): Will {
  const topic = fields.text('will topic')
  const problem = problemOfTopic(topic)
  if (problem !== undefined) throw malformed(`will topic ${problem}`)
  return {
    topic,
    payload: fields.bytes(),
    qos: ((flags >> 3) & 3) as Qos,
    retain: (flags & 32) !== 0,
  }
}

/** Checks a SUBSCRIBE's body and returns its filters. Errors: FESCUE_PACKET_MALFORMED. */
export function checkSubscribe(buffer: Buffer, body: number, end: number): readonly string[] {
  return checkFilters(buffer, body, end, true)
}

/** Checks an UNSUBSCRIBE's body and returns its filters. Errors: FESCUE_PACKET_MALFORMED. */
export function checkUnsubscribe(buffer: Buffer, body: number, end: number): readonly string[] {
  return checkFilters(buffer, body, end, false)
}

function checkFilters(buffer: Buffer, body: number, end: number, withQos: boolean): readonly string[] {
  const fields = new Fields(buffer, body, end)
  fields.packetId()
  const filters: string[] = []
  while (!fields.done) {
    const filter = fields.text('topic filter')
    const problem = problemOfFilter(filter)
    if (problem !== undefined) throw malformed(`topic filter ${problem}`)
    if (withQos && fields.byte() > 2) throw malformed('a requested QoS above 2 [MQTT-3.8.3-4]')
    filters.push(filter)
  }
  if (filters.length === 0) throw malformed('no topic filter [MQTT-3.8.3-3] [MQTT-3.10.3-2]')
  return filters
}
