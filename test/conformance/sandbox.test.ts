import t from 'tap'
import { createSandbox } from '#sandbox/supervisor.ts'
import { type FakeContext, FakeSandbox } from '../fakes/fake-sandbox.ts'
import { specOf } from '../fakes/sandbox-rig.ts'
import { type Behaviour, sandboxSuite } from './sandbox-suite.ts'

const bodies: Readonly<Record<Behaviour, string>> = {
  echo: `if (e.bad) throw new TypeError('bad'); return { n: e.n }`,
  effects: `publish('out/' + e.n, { n: e.n }); await state.set('last', e.n); await state.delete('gone')`,
  count: `const n = (await state.get('count')) ?? 0; await wait(0); await state.set('count', n + 1); return n`,
  wait: 'await wait(e.ms); return e.n',
  log: `console.log('n=%d', e.n)`,
}

sandboxSuite(t, 'isolates', () => {
  const sandbox = createSandbox()
  return {
    sandbox,
    load(name, behaviour, more) {
      const code = `const { publish, state } = require('fescue'); const wait = ms => new Promise(r => setTimeout(r, ms));
        exports.handler = async e => { ${bodies[behaviour]} }`
      sandbox.load(specOf(name, code, more))
    },
  }
})

interface Event {
  readonly n: number
  readonly ms?: number
  readonly bad?: boolean
}

const fakes: Readonly<Record<Behaviour, (context: FakeContext, event: Event) => unknown>> = {
  echo(_, event) {
    if (event.bad) throw new TypeError('bad')
    return { n: event.n }
  },
  effects(context, event) {
    context.publish(`out/${event.n}`, JSON.stringify({ n: event.n }))
    context.set('last', event.n)
    context.delete('gone')
  },
  async count(context) {
    const n = Number((await context.get('count')) ?? 0)
    await new Promise(resolve => setImmediate(resolve))
    context.set('count', n + 1)
    return n
  },
  async wait(_, event) {
    await new Promise(resolve => setTimeout(resolve, event.ms))
    return event.n
  },
  log: (context, event) => context.log(`n=${event.n}`),
}

sandboxSuite(t, 'fake', () => {
  const sandbox = new FakeSandbox()
  return {
    sandbox,
    load(name, behaviour, more) {
      sandbox.load(specOf(name, '', more))
      sandbox.handlers.set(name, context =>
        fakes[behaviour](context, JSON.parse(context.item.payload.toString())),
      )
    },
  }
})
