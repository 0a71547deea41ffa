/** A TCP proxy that breaks connections at a chosen byte: the network between a device and a receiver. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** What happens to a connection once one direction has carried so many bytes. */
export interface Plan {
  readonly requestBytes?: number
  readonly responseBytes?: number
  /** `fin` closes, `rst` resets, `blackhole` swallows everything from then on and closes nothing. */
  readonly how: 'fin' | 'rst' | 'blackhole'
}

export interface Proxy extends AsyncDisposable {
  readonly port: number
  /** Connections broken so far. */
  readonly broken: number
  /** Plan of each new connection; undefined lets it live. */
  plan: () => Plan | undefined
  /** Applies `how` to all connections now. */
  breakAll(how: Plan['how']): void
}

export async function startProxy(targetPort: number): Promise<Proxy> {
  const pairs = new Set<{ near: Socket; far: Socket; isDead: boolean }>()
  let broken = 0
  let plan: Proxy['plan'] = () => undefined

  const end = (pair: { near: Socket; far: Socket; isDead: boolean }, how: Plan['how']) => {
    if (pair.isDead) return
    pair.isDead = true
    broken += 1
    if (how === 'blackhole') return
    pairs.delete(pair)
    if (how === 'rst') pair.near.resetAndDestroy()
    else pair.near.destroySoon()
    pair.far.destroy()
  }

  const server = createServer(near => {
    const own = plan()
    const far = connect(targetPort, '127.0.0.1')
    const pair = { near, far, isDead: false }
    pairs.add(pair)
    const carry = (from: Socket, to: Socket, limit: number) => {
      let left = limit
      from.on('data', (chunk: Buffer) => {
        if (pair.isDead) return
        const part = chunk.subarray(0, left)
        left -= part.length
        if (part.length > 0) to.write(part)
        if (left === 0 && own !== undefined) end(pair, own.how)
      })
      from.on('error', () => {})
      from.on('close', () => {
        if (pair.isDead) return
        pairs.delete(pair)
        to.end()
      })
    }
    carry(near, far, own?.requestBytes ?? Number.POSITIVE_INFINITY)
    carry(far, near, own?.responseBytes ?? Number.POSITIVE_INFINITY)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get broken() {
      return broken
    },
    set plan(next: Proxy['plan']) {
      plan = next
    },
    get plan() {
      return plan
    },
    breakAll(how) {
      for (const pair of [...pairs]) end(pair, how)
    },
    async [Symbol.asyncDispose]() {
      for (const { near, far } of pairs) {
        near.destroy()
        far.destroy()
      }
      server.close()
      await once(server, 'close')
    },
  }
}
