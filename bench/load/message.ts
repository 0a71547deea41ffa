/**
 * The message of the load: `{"n":1000000042,"celsius":31.5,"pad":"…"}`. A function's answer begins with the same
 * `n`, so that a delivery is matched to its sending whatever lies between. Ten digits, always: a template is
 * patched in place, and nothing is formatted or parsed as a float on the way.
 */
import mqtt from 'mqtt-packet'

const head = '{"n":'
/** The first number: ten digits long, and so are the next nine thousand million. */
export const firstNumber = 1_000_000_000
const digits = 10

export interface Template {
  readonly bytes: Buffer
  /** Where the packet id stands; undefined at QoS 0. */
  readonly idAt: number | undefined
  readonly numberAt: number
}

export function publishTemplate(topic: string, qos: 0 | 1, payloadBytes: number): Template {
  const front = `${head}${firstNumber},"celsius":31.5,"pad":"`
  const payload = `${front}${'x'.repeat(Math.max(0, payloadBytes - front.length - 2))}"}`
  const bytes = mqtt.generate({
    cmd: 'publish',
    topic,
    payload,
    qos,
    messageId: 1,
    dup: false,
    retain: false,
  })
  const payloadAt = bytes.length - payload.length
  return { bytes, idAt: qos === 0 ? undefined : payloadAt - 2, numberAt: payloadAt + head.length }
}

/** Writes `number` as ten digits. */
export function writeNumber(target: Buffer, at: number, number: number): void {
  let rest = number
  for (let i = at + digits - 1; i >= at; i--) {
    const next = Math.floor(rest / 10)
    target[i] = 48 + rest - next * 10
    rest = next
  }
}

/** The number of a payload that begins at `at`. */
export function readNumber(source: Buffer, at: number): number {
  let number = 0
  for (let i = at + head.length; i < at + head.length + digits; i++) number = number * 10 + source[i]! - 48
  return number
}
