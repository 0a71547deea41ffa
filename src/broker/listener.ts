/**
 * The listening socket: TCP, or TLS when a certificate is given.
 *
 * Bounds (D6): all connections, those that have not authenticated yet, and those of the latter from one address
 * (loopback excepted); what comes above is closed at once. On a network address without users it refuses to open.
 */
import { readFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import type { TlsOptions, Server as TlsServer } from 'node:tls'
import { FescueError } from '#base/errors.ts'
import { isLoopback } from '#base/loopback.ts'

export interface TlsFiles {
  readonly certFile: string
  readonly keyFile: string
  /** Authorities of client certificates; when given, every client must show one of theirs. */
  readonly caFile?: string
}

export interface ListenerOptions {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  readonly tls?: TlsFiles
  readonly connectionsMax: number
  readonly unauthenticatedMax: number
  readonly unauthenticatedPerAddressMax: number
  accept(socket: Socket): void
  /** Called for each connection that a bound turned away. */
  turnedAway(address: string, bound: string): void
}

const backlogMaxConnections = 1_024
const tcpKeepAliveMs = 60_000

export class Listener {
  readonly #options: ListenerOptions
  readonly #server: Server
  #connections = 0
  #unauthenticated = 0
  readonly #perAddress = new Map<string, number>()

  private constructor(options: ListenerOptions, server: Server) {
    this.#options = options
    this.#server = server
  }

  /** Errors: FESCUE_PORT_TAKEN, FESCUE_CONFIG_UNREADABLE. */
  static async open(options: ListenerOptions): Promise<Listener> {
    const server = options.tls === undefined ? plainServer() : await tlsServer(options.tls)
    const listener = new Listener(options, server)
    server.on(options.tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) =>
      listener.#accept(socket),
    )
    await listener.#listen()
    return listener
  }

  get port(): number {
    const address = this.#server.address()
    return address !== null && typeof address === 'object' ? address.port : 0
  }

  get connections(): number {
    return this.#connections
  }

  /** Connections from now on are spoken to with this certificate; without TLS it does nothing. */
  renew(tls: TlsOptions): void {
    if ('setSecureContext' in this.#server) (this.#server as TlsServer).setSecureContext(tls)
  }

  /** The client of this socket has authenticated: it no longer counts among those that have not. */
  authenticated(socket: Socket): void {
    this.#forget(socket)
  }

  /** Takes no new connections; those there stay. */
  close(): void {
    this.#server.close()
  }

  #listen(): Promise<void> {
    const { host, port } = this.#options
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)))
      this.#server.listen({ host, port, backlog: backlogMaxConnections }, () => {
        this.#server.removeAllListeners('error')
        this.#server.on('error', () => {})
        resolve()
      })
    })
  }

  readonly #pending = new WeakSet<Socket>()

  #accept(socket: Socket): void {
    const address = socket.remoteAddress ?? 'unknown'
    const bound = this.#reachedBound(address)
    if (bound !== undefined) {
      socket.on('error', () => {})
      socket.destroy()
      this.#options.turnedAway(address, bound)
      return
    }
    this.#connections += 1
    this.#unauthenticated += 1
    this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1)
    this.#pending.add(socket)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, tcpKeepAliveMs)
    socket.once('close', () => {
      this.#connections -= 1
      this.#forget(socket, address)
    })
    this.#options.accept(socket)
  }

  #forget(socket: Socket, address = socket.remoteAddress ?? 'unknown'): void {
    if (!this.#pending.delete(socket)) return
    this.#unauthenticated -= 1
    const left = (this.#perAddress.get(address) ?? 1) - 1
    if (left > 0) this.#perAddress.set(address, left)
    else this.#perAddress.delete(address)
  }

  #reachedBound(address: string): string | undefined {
    const { connectionsMax, unauthenticatedMax, unauthenticatedPerAddressMax } = this.#options
    if (this.#connections >= connectionsMax) return 'connectionsMax'
    if (this.#unauthenticated >= unauthenticatedMax) return 'unauthenticatedMax'
    const fromAddress = this.#perAddress.get(address) ?? 0
    if (fromAddress >= unauthenticatedPerAddressMax && !isLoopback(address))
      return 'unauthenticatedPerAddressMax'
    return undefined
  }
}

/** Errors: FESCUE_LISTEN_NO_USERS for a network address while there is no user. */
export function checkListen(host: string, users: number): void {
  if (users > 0 || isLoopback(host)) return
  throw new FescueError(
    'FESCUE_LISTEN_NO_USERS',
    `mqtt.host ${host} is reachable from the network and there are no users: ` +
      'add one with "fescue devices add NAME", or set mqtt.host to 127.0.0.1',
  )
}

function plainServer(): Server {
  return createServer({ allowHalfOpen: true, noDelay: true })
}

async function tlsServer(files: TlsFiles): Promise<Server> {
  const options: TlsOptions = { ...(await readTls(files)), allowHalfOpen: true }
  if (files.caFile !== undefined) {
    options.requestCert = true
    options.rejectUnauthorized = true
  }
  // Loaded only here: it takes 5 MB.
  const server = process.getBuiltinModule('node:tls').createServer(options)
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  return server
}

/** Reads certificate and key and sees that they are ones. Errors: FESCUE_CONFIG_UNREADABLE, FESCUE_CONFIG_INVALID. */
export async function readTls({ certFile, keyFile, caFile }: TlsFiles): Promise<TlsOptions> {
  const options: TlsOptions = { cert: await read(certFile), key: await read(keyFile) }
  if (caFile !== undefined) options.ca = await read(caFile)
  try {
    process.getBuiltinModule('node:tls').createSecureContext(options)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    const text = `tls: ${certFile} and ${keyFile} are no certificate with its key: ${why}`
    throw new FescueError('FESCUE_CONFIG_INVALID', text, { cause })
  }
  return options
}

async function read(file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (cause) {
    throw new FescueError('FESCUE_CONFIG_UNREADABLE', `tls: ${file} cannot be read`, { cause })
  }
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): FescueError {
  if (error.code === 'EADDRINUSE') {
    return new FescueError(
      'FESCUE_PORT_TAKEN',
      `another process listens on ${host}:${port}: stop it, or set mqtt.port to another`,
      { cause: error },
    )
  }
  return new FescueError('FESCUE_CONFIG_INVALID', `mqtt cannot listen on ${host}:${port}: ${error.message}`, {
    cause: error,
  })
}
