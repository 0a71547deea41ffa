/** MQTT packets as bytes, right or wrong on purpose: what no encoder would write is put together here. */

/** A text or bytes with its two bytes of length. */
export function field(value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  const length = Buffer.alloc(2)
  length.writeUInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}

export function word(value: number): Buffer {
  return Buffer.of(value >> 8, value & 255)
}

/** A remaining length in as few bytes as it needs, or in `width` of them. */
export function remainingLength(value: number, width = 1): Buffer {
  const bytes: number[] = []
  let left = value
  do {
    bytes.push((left & 127) | 128)
    left >>>= 7
  } while (left > 0 || bytes.length < width)
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) & 127
  return Buffer.from(bytes)
}

/** A packet of the first byte and its body; `announced` lies about the length. */
export function packet(first: number, body: Buffer, announced = body.length): Buffer {
  return Buffer.concat([Buffer.of(first), remainingLength(announced), body])
}

export interface ConnectBytes {
  readonly protocol?: string | Buffer
  readonly level?: number
  readonly flags?: number
  readonly keepAlive?: number
  readonly clientId?: string | Buffer
  /** Will, user name and password, as the flags promise. */
  readonly rest?: Buffer
}

export function connectBytes(fields: ConnectBytes = {}): Buffer {
  const { protocol = 'MQTT', level = 4, flags = 2, keepAlive = 0, clientId = 'c' } = fields
  const head = [field(protocol), Buffer.of(level, flags), word(keepAlive), field(clientId)]
  return packet(0x10, Buffer.concat([...head, fields.rest ?? Buffer.alloc(0)]))
}

/** `flags` are DUP, QoS and RETAIN as they stand in the first byte. */
export function publishBytes(
  topic: string | Buffer,
  payload: string | Buffer,
  flags = 0,
  packetId?: number,
): Buffer {
  const id = packetId === undefined ? [] : [word(packetId)]
  return packet(0x30 | flags, Buffer.concat([field(topic), ...id, Buffer.from(payload)]))
}

export function subscribeBytes(
  packetId: number,
  filters: readonly [filter: string | Buffer, qos: number][],
): Buffer {
  const body = filters.flatMap(([filter, qos]) => [field(filter), Buffer.of(qos)])
  return packet(0x82, Buffer.concat([word(packetId), ...body]))
}

export function unsubscribeBytes(packetId: number, filters: readonly (string | Buffer)[]): Buffer {
  return packet(0xa2, Buffer.concat([word(packetId), ...filters.map(field)]))
}

/** PUBACK 4, PUBREC 5, PUBREL 6 (with its flags) or PUBCOMP 7. */
export function ackBytes(type: 4 | 5 | 6 | 7, packetId: number): Buffer {
  return packet((type << 4) | (type === 6 ? 2 : 0), word(packetId))
}

export const pingreq = Buffer.of(0xc0, 0)
export const disconnect = Buffer.of(0xe0, 0)
