import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import t from 'tap'
import { chunkBytes, Outgoing, TurnWriter } from '#broker/outgoing.ts'
import { PublishEncoder } from '#broker/packet-writer.ts'
import { linkBacklogMaxBytes } from '#broker/session.ts'

/** Both ends of a TCP connection, with the writes of one counted. */
async function pair() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const far = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [near] = (await accepted) as [net.Socket]
  let writes = 0
  const { _write, _writev } = near as unknown as Record<'_write' | '_writev', (...args: unknown[]) => void>
  Object.assign(near, {
    _write(...args: unknown[]) {
      writes += 1
      _write.apply(near, args)
    },
    _writev(...args: unknown[]) {
      writes += 1
      _writev.apply(near, args)
    },
  })
  return {
    near,
    far,
    writes: () => writes,
    async [Symbol.asyncDispose]() {
      near.destroy()
      far.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

async function receive(socket: net.Socket, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let got = 0
  while (got < bytes) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    chunks.push(chunk)
    got += chunk.length
  }
  return Buffer.concat(chunks)
}

t.test('one write for all packets of a turn, whatever their size', async t => {
  await using sockets = await pair()
  const outgoing = new Outgoing(sockets.near, new TurnWriter())
  const encoder = new PublishEncoder()
  const expected: Buffer[] = []
  for (let i = 0; i < 500; i++) {
    outgoing.ack(4, i + 1)
    expected.push(Buffer.of(0x40, 2, (i + 1) >> 8, (i + 1) & 255))
  }
  for (const size of [10, 300, 9_000, 40, 100_000]) {
    const payload = Buffer.alloc(size, size & 255)
    outgoing.publish(encoder.encode(Buffer.from('a/b'), payload, 1, false), 77)
    const remaining = 7 + size
    const length: number[] = []
    for (let rest = remaining; ; rest >>= 7) {
      length.push(rest > 127 ? (rest & 127) | 128 : rest)
      if (rest <= 127) break
    }
    expected.push(Buffer.from([0x32, ...length, 0, 3, 97, 47, 98, 0, 77]), payload)
  }
  outgoing.write(Buffer.from('last'))
  expected.push(Buffer.from('last'))
  const all = Buffer.concat(expected)
  t.equal(sockets.writes(), 0, 'nothing before the turn ends')
  t.equal(outgoing.backlogBytes, all.length)
  t.ok((await receive(sockets.far, all.length)).equals(all), 'in order')
  t.equal(sockets.writes(), 1)
})

t.test('connections of one turn are flushed together', async t => {
  await using one = await pair()
  await using two = await pair()
  const turn = new TurnWriter()
  const first = new Outgoing(one.near, turn)
  const second = new Outgoing(two.near, turn)
  for (let i = 1; i < 10; i++) {
    first.ack(4, i)
    second.ack(5, i)
  }
  await Promise.all([receive(one.far, 36), receive(two.far, 36)])
  t.same([one.writes(), two.writes()], [1, 1])
})

t.test('a backlog of many small turns holds its bytes, not a chunk each', async t => {
  await using sockets = await pair()
  const outgoing = new Outgoing(sockets.near, new TurnWriter())
  sockets.far.pause()
  const big = Buffer.alloc(1024 * 1024)
  while (sockets.near.writableLength === 0) {
    outgoing.write(big)
    await new Promise(resolve => setImmediate(resolve))
  }
  const before = process.memoryUsage().arrayBuffers
  for (let i = 0; i < 500; i++) {
    outgoing.ack(4, 1)
    await new Promise(resolve => setImmediate(resolve))
  }
  const grown = process.memoryUsage().arrayBuffers - before
  t.ok(grown < (500 * chunkBytes) / 8, `${grown} bytes for 500 turns of 4 bytes`)
})

t.test('onDrain calls once the backlog has fallen', async t => {
  await using sockets = await pair()
  const outgoing = new Outgoing(sockets.near, new TurnWriter())
  sockets.far.pause()
  while (outgoing.backlogBytes <= linkBacklogMaxBytes || sockets.near.writableLength === 0) {
    outgoing.write(Buffer.alloc(512 * 1024))
    await new Promise(resolve => setImmediate(resolve))
  }
  let drained = 0
  const done = new Promise<void>(resolve => {
    outgoing.onDrain(() => {
      drained += 1
      resolve()
    })
  })
  await new Promise(resolve => setTimeout(resolve, 20))
  t.equal(drained, 0)
  sockets.far.resume()
  await done
  t.ok(outgoing.backlogBytes < linkBacklogMaxBytes)
  t.equal(drained, 1)
})

t.test('onDrain without a backlog calls in the next turn', async t => {
  await using sockets = await pair()
  const outgoing = new Outgoing(sockets.near, new TurnWriter())
  await new Promise<void>(resolve => outgoing.onDrain(resolve))
  t.pass()
})

t.test('what is gathered for a socket that is gone is let go', async t => {
  await using sockets = await pair()
  const outgoing = new Outgoing(sockets.near, new TurnWriter())
  outgoing.ack(4, 1)
  sockets.near.destroy()
  await new Promise(resolve => setImmediate(resolve))
  t.equal(outgoing.backlogBytes, 0)
})
