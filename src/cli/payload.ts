/** A payload given on the command line: as it stands, `@FILE`, or `-` for the standard input. */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { FescueError } from '#base/errors.ts'
import type { Terminal } from './terminal.ts'

/** The largest payload of an MQTT message is 256 MB; what is kept on a small computer ends far below. */
const payloadMaxBytes = 16 * 1024 * 1024

export async function readPayload(argument: string, terminal: Terminal): Promise<Buffer> {
  if (argument === '-') return readAll(terminal)
  if (!argument.startsWith('@')) return Buffer.from(argument)
  const path = resolve(terminal.cwd, argument.slice(1))
  try {
    return checkSize(await readFile(path))
  } catch (cause) {
    if (cause instanceof FescueError) throw cause
    throw new FescueError('FESCUE_REQUEST_INVALID', `cannot read ${path}: ${String(cause)}`, { cause })
  }
}

async function readAll(terminal: Terminal): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of terminal.stdin()) {
    const buffer = Buffer.from(chunk)
    bytes += buffer.length
    if (bytes > payloadMaxBytes) break
    chunks.push(buffer)
  }
  return checkSize(Buffer.concat(chunks), bytes)
}

function checkSize(payload: Buffer, bytes = payload.length): Buffer {
  if (bytes <= payloadMaxBytes) return payload
  throw new FescueError('FESCUE_REQUEST_TOO_LARGE', `the payload is larger than ${payloadMaxBytes} bytes`)
}
