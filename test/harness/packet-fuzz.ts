/**
 * Sessions of MQTT bytes by seed, and what a broker must make of each:
 *
 *   served   valid packets, cut anywhere: every one that asks for an answer gets it
 *   refused  a valid beginning, then one thing that MQTT forbids: the connection ends
 *   damaged  bits flipped, cut short, lengths that lie, packets twice, in another order, in the wrong state:
 *            no answer is expected, and no harm to anybody else
 *
 * A session is made of its seed alone, so one number repeats it: `npm run fuzz -- --session SEED`.
 */
import {
  ackBytes,
  connectBytes,
  disconnect,
  field,
  pingreq,
  publishBytes,
  remainingLength,
  subscribeBytes,
  unsubscribeBytes,
} from './packet-bytes.ts'
import { firstViolations, violations } from './packet-violations.ts'
import { type Random, seededRandom } from './random.ts'

export type Answer = `${'puback' | 'pubrec' | 'pubcomp' | 'suback' | 'unsuback'} ${number}` | 'pingresp'

export type Expected =
  | { readonly kind: 'served'; readonly asked: ReadonlyMap<Buffer, readonly Answer[]> }
  | { readonly kind: 'refused'; readonly violation: string; readonly frame: Buffer }
  | { readonly kind: 'damaged' }

export interface FuzzSession {
  readonly seed: number
  readonly clientId: string
  readonly clean: boolean
  readonly expected: Expected
  /** Packets, or what became of them; a failure is shrunk by leaving some out. */
  readonly frames: readonly Buffer[]
  /** Bytes of each write; the last one repeats. */
  readonly cuts: readonly number[]
  readonly ending: 'half-close' | 'linger' | 'reset'
}

interface Valid {
  readonly bytes: Buffer
  readonly answers: readonly Answer[]
}

const topics = ['f/a', 'f/b/c', 'f/grün/🌡', `f/${'deep/'.repeat(30)}`, 'f//', '/f', 'f/__proto__/constructor']
const filters = ['f/#', 'f/+/c', '+/a', 'f/a', '#', 'f/b/c', '+/+/+', '$SYS/#']

export function sessionOf(seed: number): FuzzSession {
  const random = seededRandom(seed)
  const roll = random.next()
  const own = { seed, clean: random.next() < 0.6, cuts: cutsOf(random) }
  if (roll < 0.2) return served(random, own)
  if (roll < 0.5) return refused(random, own)
  return damaged(random, own)
}

type Own = Pick<FuzzSession, 'seed' | 'clean' | 'cuts'>

function served(random: Random, own: Own): FuzzSession {
  const clientId = `fuzz-own-${own.seed}`
  const packets = Array.from({ length: random.int(1, 12) }, () => validPacket(random))
  const asked = new Map(packets.map(({ bytes, answers }) => [bytes, answers]))
  const last = Buffer.from(pingreq)
  asked.set(last, ['pingresp'])
  const frames = [connect(random, clientId, own.clean), ...packets.map(({ bytes }) => bytes), last]
  return { ...own, clientId, expected: { kind: 'served', asked }, frames, ending: 'linger' }
}

/** The answers that the packets of a session ask for. */
export function answersTo(
  frames: readonly Buffer[],
  asked: ReadonlyMap<Buffer, readonly Answer[]>,
): readonly Answer[] {
  return frames.flatMap(frame => asked.get(frame) ?? [])
}

function refused(random: Random, own: Own): FuzzSession {
  const clientId = `fuzz-own-${own.seed}`
  const first = random.next() < 0.3
  const [violation, make] = random.pick(Object.entries(first ? firstViolations : violations))
  const before = first ? [] : [connect(random, clientId, own.clean), ...some(random, 0, 4)]
  // What follows makes clear that the end of the bytes is not what ended it.
  const frame = make(random)
  const frames = [...before, frame, pingreq, ...some(random, 0, 3)]
  return { ...own, clientId, expected: { kind: 'refused', violation, frame }, frames, ending: 'linger' }
}

const some = (random: Random, from: number, to: number): Buffer[] =>
  Array.from({ length: random.int(from, to) }, () => validPacket(random).bytes)

function damaged(random: Random, own: Own): FuzzSession {
  const clientId = `fuzz-${random.int(0, 20)}`
  const all = [...Object.values(firstViolations), ...Object.values(violations)]
  const frames = [connect(random, clientId, own.clean)]
  for (let i = random.int(0, 14); i > 0; i--) {
    const roll = random.next()
    if (roll < 0.1) frames.push(random.pick(all)(random))
    else if (roll < 0.3) frames.push(wrongState(random))
    else frames.push(validPacket(random).bytes)
  }
  const ending = random.pick(['half-close', 'linger', 'reset'] as const)
  return { ...own, clientId, expected: { kind: 'damaged' }, frames: mutated(random, frames), ending }
}

/** CONNECT, now and then with a will, a user or a keep-alive. */
function connect(random: Random, clientId: string, clean: boolean): Buffer {
  let flags = clean ? 2 : 0
  const rest: Buffer[] = []
  if (random.next() < 0.3) {
    flags |= 4 | (random.int(0, 3) << 3) | random.pick([0, 32])
    rest.push(field('f/will'), field(Buffer.alloc(random.int(0, 300), 0x77)))
  }
  if (random.next() < 0.2) {
    flags |= 0xc0
    rest.push(field('user'), field('password'))
  }
  return connectBytes({
    flags,
    clientId,
    keepAlive: random.pick([0, 0, 60, 65_535]),
    rest: Buffer.concat(rest),
    ...(random.next() < 0.2 && { protocol: 'MQIsdp', level: 3 }),
  })
}

function validPacket(random: Random): Valid {
  const id = random.int(1, 40)
  switch (random.int(0, 8)) {
    case 0:
      return { bytes: publishBytes(random.pick(topics), payload(random)), answers: [] }
    case 1:
    case 2:
      return {
        bytes: publishBytes(random.pick(topics), payload(random), random.pick([2, 3, 10]), id),
        answers: [`puback ${id}`],
      }
    case 3:
      return {
        bytes: publishBytes(random.pick(topics), payload(random), random.pick([4, 5, 12]), id),
        answers: [`pubrec ${id}`],
      }
    case 4:
      return { bytes: ackBytes(6, id), answers: [`pubcomp ${id}`] }
    case 5: {
      const list = Array.from(
        { length: random.int(1, 4) },
        () => [random.pick(filters), random.int(0, 3)] as [string, number],
      )
      return { bytes: subscribeBytes(id, list), answers: [`suback ${id}`] }
    }
    case 6:
      return { bytes: unsubscribeBytes(id, [random.pick(filters)]), answers: [`unsuback ${id}`] }
    default:
      return { bytes: Buffer.from(pingreq), answers: ['pingresp'] }
  }
}

/** Below 16 KiB, the bound of a packet that comes before CONNACK is out. */
function payload(random: Random): Buffer {
  const roll = random.next()
  if (roll < 0.2) return Buffer.alloc(0)
  if (roll < 0.4) return Buffer.from('{"a":')
  return Buffer.alloc(roll < 0.95 ? random.int(1, 400) : random.int(400, 15_000), random.int(0, 256))
}

/** Packets that are well formed and come when nobody asked for them. */
function wrongState(random: Random): Buffer {
  const id = random.pick([1, 2, 3, 7, 65_535])
  return random.pick([
    ackBytes(4, id),
    ackBytes(5, id),
    ackBytes(6, id),
    ackBytes(7, id),
    connectBytes({ clientId: 'fuzz-0' }),
    disconnect,
    publishBytes('f/a', 'dup of nothing', 10, id),
    publishBytes('f/a', 'dup of nothing', 12, id),
  ])
}

function mutated(random: Random, frames: readonly Buffer[]): Buffer[] {
  const list = frames.map(frame => Buffer.from(frame))
  for (let i = random.int(0, 4); i > 0; i--) {
    // The first packet is spared in most sessions: behind a damaged CONNECT nothing is read.
    const at = random.next() < 0.2 ? 0 : random.int(0, list.length)
    const frame = list[at] ?? Buffer.alloc(0)
    if (frame.length > 0) mutate(random, list, at, frame)
  }
  return list
}

function mutate(random: Random, list: Buffer[], at: number, frame: Buffer): void {
  const place = random.int(0, Math.min(frame.length, random.next() < 0.5 ? 8 : frame.length))
  switch (random.int(0, 8)) {
    case 0:
      frame[place] = (frame[place] ?? 0) ^ (1 << random.int(0, 8))
      break
    case 1:
      frame[place] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.int(0, 256)])
      break
    case 2:
      list[at] = frame.subarray(0, place)
      break
    case 3:
      list.splice(at, 0, frame)
      break
    case 4:
      list.splice(random.int(0, list.length), 0, ...list.splice(at, 1))
      break
    case 5: {
      // The length lies: a little off, or far.
      const body = frame.subarray(2)
      const announced = random.pick([
        body.length + random.int(1, 5),
        Math.max(0, body.length - random.int(1, 5)),
        random.int(0, 300_000),
      ])
      list[at] = Buffer.concat([frame.subarray(0, 1), remainingLength(announced, random.int(1, 5)), body])
      break
    }
    case 6:
      list[at] = Buffer.concat([frame, Buffer.alloc(random.int(1, 30), random.int(0, 256))])
      break
    default:
      list[at] = Buffer.concat([
        frame.subarray(0, place),
        Buffer.of(random.int(0, 256)),
        frame.subarray(place),
      ])
  }
}

/** All at once, byte by byte, or by chance. */
function cutsOf(random: Random): number[] {
  const roll = random.next()
  if (roll < 0.3) return [1_000_000]
  if (roll < 0.45) return [1]
  if (roll < 0.6) return [random.int(1, 12), 1_000_000]
  return Array.from({ length: 30 }, () => random.int(1, 200))
}
