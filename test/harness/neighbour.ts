/**
 * A healthy pair beside an attack: one client publishes numbered messages with QoS 1, one at a time, another must
 * get each of them back, once and in order, over one connection. Directly, or through a function in between.
 */
import { randomBytes } from 'node:crypto'
import { RawClient } from './raw-client.ts'

export interface NeighbourOptions {
  readonly port: number
  readonly publishTo: string
  readonly listenTo: string
  /** Longest time that a message may take before that is a violation in itself. */
  readonly waitMaxMs?: number
}

interface Payload {
  readonly nonce: string
  readonly n: number
}

/** Long enough that only a pair that stands still for good reaches it. */
const waitMaxDefaultMs = 30_000
const betweenMs = 5

export class Neighbour {
  readonly #options: NeighbourOptions
  readonly #publisher: RawClient
  readonly #listener: RawClient
  readonly #nonce = randomBytes(6).toString('hex')
  readonly #violations: string[] = []
  #sent = 0
  #expected = 0
  #stopping = false
  #loop: Promise<void> = Promise.resolve()
  longestWaitMs = 0

  private constructor(options: NeighbourOptions, publisher: RawClient, listener: RawClient) {
    this.#options = options
    this.#publisher = publisher
    this.#listener = listener
  }

  static async start(options: NeighbourOptions): Promise<Neighbour> {
    const { port, listenTo } = options
    const publisher = await RawClient.connect(port, { clientId: 'neighbour-publisher' })
    const listener = await RawClient.connect(port, { clientId: 'neighbour-listener', clean: false })
    await listener.subscribe([listenTo, 1])
    const neighbour = new Neighbour(options, publisher, listener)
    neighbour.#loop = neighbour.#run()
    return neighbour
  }

  get messages(): number {
    return this.#expected
  }

  /** What went wrong so far. */
  get violations(): readonly string[] {
    return this.#violations
  }

  /** Ends after the message under way; both clients disconnect. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#loop
    for (const client of [this.#publisher, this.#listener]) {
      client.send({ cmd: 'disconnect' })
      client.socket.end()
      await client.closed
    }
  }

  async #run(): Promise<void> {
    try {
      while (!this.#stopping) {
        await this.#exchange()
        await new Promise(resolve => setTimeout(resolve, betweenMs))
      }
    } catch (error) {
      this.#violations.push(`neighbour: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  async #exchange(): Promise<void> {
    const startedAt = performance.now()
    const n = this.#sent++
    const payload: Payload = { nonce: this.#nonce, n }
    this.#publisher.publish(this.#options.publishTo, JSON.stringify(payload), 1, (n % 60_000) + 1)
    await this.#within(this.#publisher.next('puback'), `the PUBACK of message ${n}`)
    await this.#within(this.#back(n), `message ${n}`)
    this.longestWaitMs = Math.max(this.longestWaitMs, performance.now() - startedAt)
    // Hours of packets are not kept.
    this.#publisher.forget()
    this.#listener.forget()
  }

  async #back(n: number): Promise<void> {
    for (;;) {
      const packet = await this.#listener.next('publish')
      if (packet.qos === 1) this.#listener.send({ cmd: 'puback', messageId: packet.messageId ?? 0 })
      const got = parse(packet.payload.toString())
      if (got?.nonce !== this.#nonce) continue
      if (got.n !== this.#expected) throw new Error(`message ${got.n} came where ${this.#expected} belongs`)
      this.#expected += 1
      if (got.n === n) return
    }
  }

  async #within(promise: Promise<unknown>, what: string): Promise<void> {
    const waitMs = this.#options.waitMaxMs ?? waitMaxDefaultMs
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => late.reject(new Error(`${what} did not come within ${waitMs} ms`)), waitMs)
    try {
      await Promise.race([promise, late.promise])
    } finally {
      clearTimeout(timer)
    }
  }
}

function parse(text: string): Payload | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && 'nonce' in value ? (value as Payload) : undefined
  } catch {
    return undefined
  }
}
