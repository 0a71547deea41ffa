/**
 * An executor that was broken into: it speaks the protocol until a batch comes, then does what its first argument
 * says. Used to show that the daemon's side trusts nothing.
 */
import { Socket } from 'node:net'

const attack = process.argv[2]
const socket = new Socket({ fd: 3, readable: true, writable: true })

function frame(type, id, body) {
  const bytes = Buffer.alloc(9 + body.length)
  bytes.writeUInt32LE(body.length + 5, 0)
  bytes[4] = type
  bytes.writeUInt32LE(id, 5)
  body.copy(bytes, 9)
  return bytes
}
const json = value => Buffer.from(JSON.stringify(value))
const u32 = value => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
const result = index =>
  Buffer.concat([
    Buffer.from([1]),
    u32(index),
    Buffer.alloc(16),
    u32(4),
    Buffer.from('null'),
    Buffer.alloc(4),
  ])
const done = run => json({ run, end: { kind: 'done' } })

const attacks = {
  'a length out of bounds': () => Buffer.from([255, 255, 255, 255, 1]),
  'an unknown frame': id => frame(99, id, Buffer.alloc(4)),
  'JSON that is none': id => frame(22, id, Buffer.from('{')),
  'JSON null': id => frame(22, id, Buffer.from('null')),
  'records cut short': (id, run) => frame(20, id, Buffer.concat([u32(run), Buffer.from([1, 0])])),
  'records without a run': id => frame(20, id, Buffer.from([1])),
  'a result of an item that was not sent': (id, run) => frame(20, id, Buffer.concat([u32(run), result(7)])),
  'the same result twice': (id, run) => frame(20, id, Buffer.concat([u32(run), result(0), result(0)])),
  'an end before the results': (id, run) => frame(22, id, done(run)),
  'an end of a kind that is none': (id, run) => frame(22, id, json({ run, end: { kind: 'party' } })),
  'a failure of an item that was not sent': (id, run) =>
    frame(22, id, json({ run, end: { kind: 'failed', index: 1e9, error: {} } })),
  'a failure without an error': (id, run) => frame(22, id, json({ run, end: { kind: 'failed', index: 0 } })),
  'a credit for more than was sent': () => frame(0, 0, u32(4_000_000_000)),
  'a credit of the wrong size': () => frame(0, 0, Buffer.alloc(3)),
  'frames of functions that do not exist': id =>
    Buffer.concat([
      frame(20, id + 77, Buffer.alloc(9)),
      frame(22, id + 77, json({})),
      frame(99, id, Buffer.alloc(1)),
    ]),
  'a progress that keeps it alive for ever': (id, run) => {
    setInterval(() => socket.write(frame(21, id, json({ run, index: 0, leftMs: 1e15 }))), 20)
    return Buffer.alloc(0)
  },
  silence: () => Buffer.alloc(0),
}

let held = Buffer.alloc(0)
socket.on('data', chunk => {
  held = Buffer.concat([held, chunk])
  while (held.length >= 4 && held.length >= 4 + held.readUInt32LE(0)) {
    const length = held.readUInt32LE(0)
    const [type, id, body] = [held[4], held.readUInt32LE(5), held.subarray(9, 4 + length)]
    if (type === 3) socket.write(attacks[attack](id, body.readUInt32LE(0)))
    held = held.subarray(4 + length)
  }
})
socket.on('close', () => process.exit())
