import { duplexPair } from 'node:stream'
import t from 'tap'
import { FrameChannel, windowBytes } from '#base/wire/channel.ts'
import { frameHeader, WireError } from '#base/wire/frame.ts'

const turn = () => new Promise(resolve => setImmediate(resolve))

interface Heard {
  readonly frames: { type: number; id: number; text: string }[]
  readonly closed: (Error | undefined)[]
  drained: number
}

function listen(socket: ReturnType<typeof duplexPair>[0]) {
  const heard: Heard = { frames: [], closed: [], drained: 0 }
  const channel = new FrameChannel(socket, {
    frame: ({ type, id, body }) => heard.frames.push({ type, id, text: body.toString('latin1', 0, 20) }),
    drained: () => {
      heard.drained++
    },
    closed: error => heard.closed.push(error),
  })
  return { channel, heard }
}

t.test('frames of one turn leave in one write', async t => {
  const [left, right] = duplexPair()
  const writes: number[] = []
  right.on('data', (chunk: Buffer) => writes.push(chunk.length))
  const { channel } = listen(left)
  for (let i = 0; i < 10; i++) channel.send(1, i, Buffer.from('abc'))
  await turn()
  await turn()
  t.same(writes, [120])
})

t.test('both directions carry frames, and the end is told once', async t => {
  const [left, right] = duplexPair()
  const a = listen(left)
  const b = listen(right)
  a.channel.send(3, 7, Buffer.from('to b'), Buffer.from('!'))
  b.channel.send(4, 8, Buffer.from('to a'))
  while (a.heard.frames.length === 0 || b.heard.frames.length === 0) await turn()
  t.same(b.heard.frames, [{ type: 3, id: 7, text: 'to b!' }])
  t.same(a.heard.frames, [{ type: 4, id: 8, text: 'to a' }])
  right.destroy()
  left.destroy()
  while (a.heard.closed.length === 0) await turn()
  await turn()
  t.same(a.heard.closed, [undefined])
})

t.test('a peer that does not read costs one window, and is told when there is room again', async t => {
  const [left, right] = duplexPair()
  const { channel, heard } = listen(left)
  const piece = Buffer.alloc(64 * 1024, 1)
  let sent = 0
  while (channel.ready && sent < 1000) {
    channel.send(1, sent++, piece)
    await turn()
  }
  t.ok(
    sent * piece.length >= windowBytes && sent * piece.length < windowBytes + 2 * piece.length,
    `${sent} pieces`,
  )
  const before = channel.pendingBytes
  for (let i = 0; i < 5; i++) channel.send(1, 9, piece)
  await turn()
  t.ok(channel.pendingBytes > before, 'what a producer had in hand waits here')
  t.equal(heard.drained, 0)
  const peer = listen(right)
  while (heard.drained === 0) await turn()
  t.equal(channel.ready, true)
  while (peer.heard.frames.length < sent + 5) await turn()
  t.equal(peer.heard.frames.length, sent + 5, 'nothing was lost')
})

t.test('credits flow while both sides send without pause', async t => {
  const [left, right] = duplexPair()
  const a = listen(left)
  const b = listen(right)
  const piece = Buffer.alloc(100_000, 1)
  for (let i = 0; i < 120; i++) {
    a.channel.send(1, i, piece)
    b.channel.send(1, i, piece)
    if (i % 10 === 0) await turn()
  }
  while (a.heard.frames.length < 120 || b.heard.frames.length < 120) await turn()
  t.same([a.heard.frames.length, b.heard.frames.length], [120, 120])
})

t.test('a broken frame closes the channel with an error of the protocol', async t => {
  for (const bytes of [Buffer.from([1, 0, 0, 0, 9]), frameHeader(0, 0, 0)]) {
    const [left, right] = duplexPair()
    const { heard } = listen(left)
    right.on('error', () => {})
    right.write(bytes)
    while (heard.closed.length === 0) await turn()
    t.ok(heard.closed[0] instanceof WireError)
    t.same(heard.frames, [])
  }
})
