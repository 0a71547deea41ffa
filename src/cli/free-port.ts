/** Whether a port can be listened on, and one that can. */
import { once } from 'node:events'
import { createServer } from 'node:net'

/** `port` when it is free on `host`, else one that the system picks. It may be taken again before it is used. */
export async function freePort(host: string, port: number): Promise<number> {
  return (await tryPort(host, port)) ?? (await tryPort(host, 0)) ?? 0
}

async function tryPort(host: string, port: number): Promise<number | undefined> {
  const server = createServer()
  try {
    server.listen(port, host)
    await once(server, 'listening')
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : undefined
  } catch {
    return undefined
  } finally {
    server.close()
  }
}
