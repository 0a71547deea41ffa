/** Plays one session of `packet-fuzz.ts` against a broker and says what it should have done and did not. */
import net from 'node:net'
import mqtt, { type Packet } from 'mqtt-packet'
import { connectBytes, disconnect } from './packet-bytes.ts'
import { type Answer, answersTo, type FuzzSession } from './packet-fuzz.ts'

/** Says when what has not come by now will never come; asked every `lateLookMs`. */
export type Late = () => boolean

const lateLookMs = 50
const lingerMs = 5

/** The violation, or undefined. Resolves when the connection is gone. */
export async function playSession(
  port: number,
  session: FuzzSession,
  late: Late,
): Promise<string | undefined> {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true })
  socket.on('error', () => {})
  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  const answers = new Answers(socket)
  try {
    await Promise.race([event(socket, 'connect'), closed])
    await writeCut(socket, session)
    return await verdict(session, socket, closed, answers, late)
  } finally {
    socket.destroy()
    await closed
    if (session.expected.kind !== 'damaged' && !session.clean) await forgetSession(port, session.clientId)
  }
}

/** Connects with clean session 1, so that nothing is kept of the client. */
export async function forgetSession(port: number, clientId: string): Promise<void> {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true })
  socket.on('error', () => {})
  socket.write(connectBytes({ clientId, flags: 2 }))
  await Promise.race([event(socket, 'data'), event(socket, 'close')])
  socket.end(disconnect)
  socket.resume()
  if (!socket.closed) await event(socket, 'close')
}

/** Not `once` of node:events: that rejects at an error, and the close comes after it. */
function event(socket: net.Socket, name: 'connect' | 'data' | 'close'): Promise<void> {
  return new Promise(resolve => socket.once(name, () => resolve()))
}

async function writeCut(socket: net.Socket, { frames, cuts }: FuzzSession): Promise<void> {
  const bytes = Buffer.concat(frames)
  for (let at = 0, cut = 0; at < bytes.length && !socket.destroyed; cut++) {
    const size = cuts[Math.min(cut, cuts.length - 1)] ?? 1
    socket.write(bytes.subarray(at, at + size))
    at += size
    // Now and then what is written leaves alone, so that the pieces reach the broker as pieces.
    if (cut % 8 === 0) await new Promise(resolve => setImmediate(resolve))
  }
}

async function verdict(
  session: FuzzSession,
  socket: net.Socket,
  closed: Promise<void>,
  answers: Answers,
  late: Late,
): Promise<string | undefined> {
  const { expected, ending } = session
  using given = givenUp(late)
  const end = Promise.race([closed, given.up])
  switch (expected.kind) {
    case 'served': {
      const wanted = answersTo(session.frames, expected.asked)
      await Promise.race([answers.all(wanted), end])
      const missing = answers.missing(wanted)
      if (missing.length === 0) return undefined
      return `valid packets without an answer: ${missing.join(', ')}${socket.destroyed ? '; closed' : ''}`
    }
    case 'refused':
      // Without the packet in question, as when packets are left out, there is nothing to refuse.
      if (!session.frames.includes(expected.frame)) return undefined
      await end
      return socket.closed ? undefined : `not refused: ${expected.violation}`
    default:
      if (ending === 'half-close') socket.end()
      else if (ending === 'linger') await Promise.race([closed, new Promise(r => setTimeout(r, lingerMs))])
      else socket.resetAndDestroy()
      return undefined
  }
}

function givenUp(late: Late): { readonly up: Promise<void> } & Disposable {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setInterval(() => late() && resolve(), lateLookMs)
  return { up: promise, [Symbol.dispose]: () => clearInterval(timer) }
}

/** The answers of a broker, counted. */
class Answers {
  readonly #counts = new Map<string, number>()
  #notify = (): void => {}

  constructor(socket: net.Socket) {
    const parser = mqtt.parser({ protocolVersion: 4 })
    parser.on('packet', packet => this.#take(packet))
    // Of a damaged SUBSCRIBE the answer may be unreadable to a parser that is stricter than the protocol.
    parser.on('error', () => {})
    socket.on('data', chunk => parser.parse(chunk))
  }

  #take(packet: Packet): void {
    const name = packet.cmd === 'pingresp' ? packet.cmd : `${packet.cmd} ${packet.messageId}`
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
    this.#notify()
  }

  async all(wanted: readonly Answer[]): Promise<void> {
    while (this.missing(wanted).length > 0) await new Promise<void>(resolve => (this.#notify = resolve))
  }

  missing(wanted: readonly Answer[]): Answer[] {
    const left = new Map(this.#counts)
    return wanted.filter(name => {
      const count = left.get(name) ?? 0
      left.set(name, count - 1)
      return count <= 0
    })
  }
}
