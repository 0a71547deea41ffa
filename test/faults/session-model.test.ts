/**
 * Persistent sessions against a model: random subscribe, publish, acknowledge, reconnect, restart and kill.
 *
 * What must hold: each queued message is delivered at least once, with its one packet id;
 * first deliveries come in offset order; nothing is delivered after its acknowledgement was committed; DUP is set on
 * what was sent before, and else only on what was queued at a kill.
 */
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { filterMatches } from '#base/topics.ts'
import type { PersistentSession } from '#broker/persistent-session.ts'
import type { Qos } from '#store/record.ts'
import { type Received, SessionClient } from '../fakes/session-client.ts'
import { openParts, type SessionParts } from '../fakes/session-parts.ts'

const filters = ['a/#', 'a/b', '+/b', '#', 'c'] as const
const topics = ['a/b', 'a/c', 'c', 'c/b'] as const
const inflightMax = 5
const qos = fc.constantFrom<Qos>(0, 1, 2)

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('subscribe' as const), filter: fc.constantFrom(...filters), qos }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('unsubscribe' as const), filter: fc.constantFrom(...filters) }),
  },
  {
    weight: 12,
    arbitrary: fc.record({ do: fc.constant('publish' as const), topic: fc.constantFrom(...topics), qos }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('acknowledge' as const),
      which: fc.nat(20),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('connect' as const, 'disconnect' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('restart' as const, 'kill' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

interface Queued {
  readonly payload: string
  readonly qos: Qos
  packetId?: number
  deliveries: number
  /** By PUBACK or PUBCOMP. */
  /** Queued when the process was killed: it may have been sent, as far as the next one can know. */
  doubtful: boolean
  acknowledged: boolean
  received: boolean
}

/** Drives one session and holds it against what a broker must do. */
class Model {
  readonly #folder: string
  #parts!: SessionParts
  #session!: PersistentSession
  #client: SessionClient | undefined
  /** Packets of the present connection that were looked at. */
  #seen = 0
  #published = 0
  readonly #subscriptions = new Map<string, Qos>()
  readonly #queue: Queued[] = []

  constructor(folder: string) {
    this.#folder = folder
  }

  async start(): Promise<void> {
    this.#parts = await openParts({ folder: this.#folder, limits: { inflightMax } })
    this.#session = (await this.#parts.sessions.open('c')).session
    const restored = this.#session.subscriptions.map(({ filter, qos }) => `${filter} ${qos}`).sort()
    const expected = [...this.#subscriptions].map(([filter, qos]) => `${filter} ${qos}`).sort()
    if (`${restored}` !== `${expected}`) throw new Error(`subscriptions ${restored} instead of ${expected}`)
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const next of steps) {
      await this.#take(next)
      await this.#settle()
    }
    // To the end: everything that was queued arrives and is acknowledged.
    if (this.#client === undefined) this.#connect()
    await this.#settle()
    for (let rounds = 0; this.#queue.some(({ acknowledged }) => !acknowledged); rounds++) {
      if (rounds > 1_000)
        throw new Error(`${this.#queue.filter(each => !each.acknowledged).length} never delivered`)
      await this.#acknowledge(0, 5)
      await this.#settle()
    }
    await this.#parts.store.sync()
    if (this.#session.queued !== 0) throw new Error('something is left in the queue')
    await this.#parts[Symbol.asyncDispose]()
  }

  async #take(next: Step): Promise<void> {
    switch (next.do) {
      case 'subscribe':
        this.#subscriptions.set(next.filter, next.qos)
        return this.#session.subscribe([{ filter: next.filter, qos: next.qos }])
      case 'unsubscribe':
        this.#subscriptions.delete(next.filter)
        return this.#session.unsubscribe([next.filter])
      case 'publish':
        return this.#publish(next.topic, next.qos)
      case 'acknowledge':
        return this.#acknowledge(next.which, next.count)
      case 'connect':
        return this.#connect()
      case 'disconnect':
        return this.#disconnect()
      case 'restart':
        this.#disconnect()
        await this.#parts[Symbol.asyncDispose]()
        return this.start()
      case 'kill':
        // Writes of class process survive a kill of the process once they were handed to the system.
        await this.#parts.store.sync()
        await this.#parts.abandon()
        this.#client = undefined
        for (const queued of this.#queue) queued.doubtful = true
        return this.start()
    }
  }

  async #publish(topic: string, qos: Qos): Promise<void> {
    const payload = `${this.#published++}`
    const granted = [...this.#subscriptions]
      .filter(([filter]) => filterMatches(filter, topic))
      .map(([, each]) => each)
    const highest = Math.min(qos, Math.max(0, ...granted)) as Qos
    if (highest > 0) {
      this.#queue.push({
        payload,
        qos: highest,
        deliveries: 0,
        doubtful: false,
        acknowledged: false,
        received: false,
      })
    }
    await this.#parts.publish(topic, payload, { qos })
  }

  #connect(): void {
    this.#client = new SessionClient()
    this.#seen = 0
    this.#session.attach(this.#client)
  }

  #disconnect(): void {
    if (this.#client !== undefined) this.#session.detach(this.#client)
    this.#client = undefined
  }

  /** Waits until the client has its whole queue or a full window, then looks at what came, and what came beyond. */
  async #settle(): Promise<void> {
    for (let turns = 0; this.#client !== undefined && this.#lacking() > 0; turns++) {
      if (turns > 5_000) throw new Error(`${this.#lacking()} do not come although the window is open`)
      this.#look()
      await nextTurn()
    }
    await this.#parts.store.sync()
    await nextTurn()
    this.#look()
  }

  #look(): void {
    for (const packet of this.#client?.received.slice(this.#seen) ?? []) this.#check(packet)
    this.#seen = this.#client?.received.length ?? 0
  }

  #check(packet: Received): void {
    const index = this.#queue.findIndex(each =>
      packet.type === 'publish' ? each.payload === packet.payload : each.packetId === packet.packetId,
    )
    const queued = this.#queue[index]
    if (queued === undefined) throw new Error(`${JSON.stringify(packet)} was never queued`)
    if (queued.acknowledged) throw new Error(`${queued.payload} came after its acknowledgement`)
    if (packet.type === 'pubrel') {
      if (!queued.received) throw new Error(`PUBREL without PUBREC for ${queued.payload}`)
      return
    }
    if (queued.received) throw new Error(`${queued.payload} was published again after PUBREC`)
    if (packet.qos !== queued.qos) throw new Error(`${queued.payload} came with QoS ${packet.qos}`)
    const dup = queued.deliveries > 0 || (queued.doubtful && packet.dup)
    if (packet.dup !== dup) throw new Error(`DUP ${packet.dup} at delivery ${queued.deliveries + 1}`)
    if (queued.packetId !== undefined && queued.packetId !== packet.packetId)
      throw new Error('another packet id')
    queued.packetId = packet.packetId
    queued.deliveries += 1
    const skipped = this.#queue.slice(0, index).find(({ deliveries }) => deliveries === 0)
    if (skipped !== undefined) throw new Error(`${queued.payload} overtook ${skipped.payload}`)
  }

  /** How many messages should be on their way by now and are not. */
  #lacking(): number {
    const came = new Set(this.#client?.received.map(({ packetId }) => packetId))
    const open = this.#queue.filter(({ acknowledged }) => !acknowledged)
    const flying = open.filter(({ packetId }) => packetId !== undefined && came.has(packetId)).length
    return Math.min(inflightMax, open.length) - flying
  }

  async #acknowledge(which: number, count: number): Promise<void> {
    if (this.#client === undefined) return
    const open = this.#queue.filter(({ acknowledged, packetId }) => !acknowledged && packetId !== undefined)
    const came = open.filter(({ packetId }) =>
      this.#client?.received.some(each => each.packetId === packetId),
    )
    for (const queued of came.slice(which % Math.max(1, came.length)).slice(0, count)) {
      const packetId = queued.packetId ?? 0
      if (queued.qos === 2 && !queued.received) {
        await this.#client.pubrec(this.#session, packetId)
        queued.received = true
        continue
      }
      const outcome = this.#session.acknowledge(packetId, queued.qos === 2 ? 'pubcomp' : 'puback')
      if (outcome !== 'done') throw new Error(`acknowledgement of ${queued.payload}: ${outcome}`)
      queued.acknowledged = true
    }
  }
}

t.test('a session keeps its promise through any history', async t => {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)
  t.comment(`SEED=${seed}`)
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async steps => {
      await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-model-'))
      const model = new Model(dir.path)
      await model.start()
      await model.run(steps)
    }),
    { seed, numRuns: 25, endOnFailure: false },
  )
  t.pass('25 histories')
})
