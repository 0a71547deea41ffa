/**
 * The attacks of `test/harness/attacks.ts` as functions of the daemon, a handful at a time: each message has its
 * effects once or is one dead letter with a clear error, none is lost, and a healthy function in the same executor works
 * on all the while. Modules that cannot be loaded keep their messages until they are mended.
 */
import t, { type Test } from 'tap'
import { type Attack, attacks, badModules } from '../harness/attacks.ts'
import { Neighbour } from '../harness/neighbour.ts'
import { RawClient } from '../harness/raw-client.ts'
import { World } from '../harness/world.ts'

t.setTimeout(170_000)

const atOnce = 6
const errorTypes: Readonly<Record<string, RegExp>> = {
  timeout: /^Sandbox.Timedout$/,
  killed: /^Runtime.ExitError$|^Sandbox.Timedout$/,
}

const manifest = (trigger: string, out: string) => `
triggers:
  - topic: ${trigger}
permissions:
  publish: [out/#, ${out}]
timeout: 300ms
retry: { attempts: 1 }
`

const sourceOf = ({ before = '', body }: Attack, name: string) => `
const { publish, state } = require('fescue')
${before}
async function attack() { ${body} }
exports.handler = async event => {
  if (event.attack) return attack()
  publish('out/${name}', { n: event.n }, { qos: 1 })
}`

const good = `
const { publish, state } = require('fescue')
exports.handler = async event => {
  await state.set('count', ((await state.get('count')) ?? 0) + 1)
  publish('good/out', event, { qos: 1 })
}`

interface FunctionRow {
  readonly name: string
  readonly state: string
  readonly reason?: string
  readonly lastError?: string
  readonly inbox: { readonly records: number }
  readonly deadLetters: number
  readonly invocations: { readonly ok: number; readonly error: number; readonly timeout: number }
}

interface DeadLetterRow {
  readonly payload: string
  readonly error: { readonly errorType: string; readonly errorMessage: string }
}

const attackName = (n: number) => `attack-${n}`
const moduleName = (n: number) => `module-${n}`

type Functions = Record<string, { manifest: string; source: string }>

const healthy: Functions = {
  good: { manifest: manifest('good/in', 'good/out').replace('300ms', '10s'), source: good },
}

function hostileFunctions(): Functions {
  const functions = { ...healthy }
  for (const [n, attack] of attacks.entries())
    functions[attackName(n)] = {
      manifest: manifest(`attack/${n}`, 'late/out'),
      source: sourceOf(attack, attackName(n)),
    }
  return functions
}

function badFunctions(): Functions {
  const functions = { ...healthy }
  for (const [n, { source }] of badModules.entries())
    functions[moduleName(n)] = { manifest: manifest(`module/${n}`, 'late/out'), source }
  return functions
}

/** Asks until `done` says so; the neighbour's own bound ends a wait for what never comes. */
async function rowsWhen(
  world: World,
  neighbour: Neighbour,
  done: (rows: ReadonlyMap<string, FunctionRow>) => boolean,
): Promise<ReadonlyMap<string, FunctionRow>> {
  for (;;) {
    const rows = await world.api<FunctionRow[]>('/api/v1/functions')
    const byName = new Map(rows.map(row => [row.name, row]))
    if (done(byName)) return byName
    if (neighbour.violations.length > 0) throw new Error(neighbour.violations.join('\n'))
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

/** What an error must say, or the reason why this one is not it. */
function problemOf(attack: Attack, letter: DeadLetterRow): string | undefined {
  const { errorType, errorMessage } = letter.error
  const text = `${errorType}: ${errorMessage}`
  const kinds = attack.outcomes.filter(kind => kind !== 'done' && kind !== 'returned')
  // On a busy machine the time may be over first; the sandbox's own test tells these apart.
  if (kinds.length > 0 && errorType === 'Sandbox.Timedout') return undefined
  if (kinds.includes('failed')) {
    const says = attack.says ?? /./s
    return says.test(text) || kinds.length > 1 ? undefined : `${text} does not say ${says}`
  }
  return kinds.some(kind => errorTypes[kind]?.test(errorType)) ? undefined : `${text}: not ${kinds}`
}

const neighbourIn = (world: World) =>
  Neighbour.start({ port: world.mqttPort, publishTo: 'good/in', listenTo: 'good/out', waitMaxMs: 90_000 })

async function unharmed(t: Test, world: World, neighbour: Neighbour): Promise<void> {
  await neighbour.stop()
  t.same(neighbour.violations, [], 'the healthy function lost nothing and did nothing twice')
  const { messages, longestWaitMs } = neighbour
  t.comment(`${messages} messages through the healthy function, longest wait ${Math.round(longestWaitMs)} ms`)
  t.notOk(world.daemon?.output.some(line => line.includes('FESCUE_INTERNAL')))
}

interface Fate {
  readonly letters: readonly DeadLetterRow[]
  /** Numbers of the messages that became dead letters. */
  readonly charged: readonly number[]
  /** Numbers that were published. */
  readonly effects: readonly number[]
}

/** What became of an attack's three messages; what is not committed yet is waited for, as long as others get on. */
async function fateOf(world: World, client: RawClient, neighbour: Neighbour, n: number): Promise<Fate> {
  const from = neighbour.messages
  for (;;) {
    const letters = await world.api<DeadLetterRow[]>(`/api/v1/dead-letters?function=${attackName(n)}`)
    const charged = letters.map(({ payload }) => (JSON.parse(payload) as { n: number }).n)
    const topic = `out/${attackName(n)}`
    const effects = client.received
      .filter((_, i) => client.topics[i] === topic)
      .map(text => JSON.parse(text).n)
    const whole = effects.length + charged.filter(each => each !== 2).length === 2
    if (whole || neighbour.violations.length > 0 || neighbour.messages - from > 200)
      return { letters, charged, effects }
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

function checkAttack(t: Test, attack: Attack, row: FunctionRow | undefined, fate: Fate): void {
  const { letters, charged, effects } = fate
  t.equal((row?.invocations.ok ?? 0) + letters.length, 3, 'nothing is lost or done twice')
  const mayFail = attack.spoils === true ? [2, 3] : [2]
  t.ok(
    charged.every(each => mayFail.includes(each)),
    `nobody else is charged: ${JSON.stringify(charged)}`,
  )
  if (!attack.outcomes.includes('done')) t.ok(charged.includes(2), 'the attack is a dead letter')
  const expected = [1, 3].filter(each => !charged.includes(each))
  t.same(effects, expected, 'effects once and in order')
  for (const letter of letters.filter(({ payload }) => payload.includes('attack'))) {
    t.equal(problemOf(attack, letter), undefined, 'with a clear error')
    t.ok(letter.error.errorMessage.length < 2_200, 'that is bounded')
    t.ok(row?.lastError !== undefined, 'and stands in the list of functions')
  }
}

t.test('attacks, a few at a time, beside a function that is well', async t => {
  await using world = await World.create({ functions: hostileFunctions() })
  await world.startDaemon()
  await using client = await RawClient.connect(world.mqttPort, { clientId: 'attacker' })
  await client.subscribe(['out/#', 1])
  const neighbour = await neighbourIn(world)
  let packetId = 0
  for (let from = 0; from < attacks.length; from += atOnce) {
    const wave = [...attacks.keys()].slice(from, from + atOnce)
    for (const n of wave)
      for (const payload of [{ n: 1 }, { n: 2, attack: true }, { n: 3 }]) {
        client.publish(`attack/${n}`, JSON.stringify(payload), 1, ++packetId)
        await client.next('puback')
      }
    const rows = await rowsWhen(world, neighbour, rows =>
      wave.every(n => rows.get(attackName(n))?.inbox.records === 0),
    )
    for (const n of wave) {
      const fate = await fateOf(world, client, neighbour, n)
      const attack = attacks[n]
      if (attack !== undefined)
        await t.test(attack.name, async t => checkAttack(t, attack, rows.get(attackName(n)), fate))
    }
  }
  t.notOk(client.topics.includes('out/late'), 'what is left behind after a return has no effect')
  await unharmed(t, world, neighbour)
})

t.test('modules that cannot be loaded keep their messages, beside a function that is well', async t => {
  await using world = await World.create({ functions: badFunctions() })
  await world.startDaemon()
  await using client = await RawClient.connect(world.mqttPort)
  const neighbour = await neighbourIn(world)
  const failed = (n: number) =>
    rowsWhen(world, neighbour, rows => rows.get(moduleName(n))?.lastError !== undefined)
  for (const n of badModules.keys()) {
    client.publish(`module/${n}`, '{}', 1, n + 1)
    await client.next('puback')
  }
  for (const n of badModules.keys()) await failed(n)
  const rows = await rowsWhen(world, neighbour, () => true)
  for (const [n, { name, says }] of badModules.entries()) {
    const row = rows.get(moduleName(n))
    t.match(row?.lastError, says, `module that ${name}`)
    // One that ends its process with each message has it as a dead letter after two probes.
    const kept = (row?.inbox.records ?? 0) + (row?.deadLetters ?? 0)
    t.equal(kept, 1, `module that ${name}: its message is kept`)
  }
  await unharmed(t, world, neighbour)
})
