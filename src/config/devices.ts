/**
 * The MQTT users of a device: DIR/devices.json, made and read with or without a daemon.
 *
 *   fescue devices add NAME ─► password (shown once) ─► HMAC-SHA256(secret, name, password) ─► devices.json
 *   CONNECT name, password ─► the same HMAC ─► equal? (constant time; an unknown name costs the same)
 *
 * Passwords are generated, 128 random bits, so that a fast hash is safe. The daemon looks at the file's stat
 * again on each verification, at most every `staleMaxMs`, so that a device added or revoked by the command
 * line counts at once. Writers hold a lock, so two `add` at once keep both.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { FescueError } from '#base/errors.ts'
import { checkName } from '#base/ids.ts'
import { nearest } from '#base/nearest.ts'
import { withFileLock } from './file-lock.ts'
import { readPrivateFile, replacePrivateFile } from './private-file.ts'

/** Devices of one daemon. */
export const devicesMax = 10_000
const devicesFileMaxBytes = 4 * 1024 * 1024
const passwordBytes = 16
/** A look at the file's stat costs a system call; a storm of connects makes one at most this often. */
const staleMaxMs = 100

export interface DeviceEntry {
  readonly name: string
  /** ISO 8601. */
  readonly createdAt: string
}

interface StoredDevice extends DeviceEntry {
  /** Hex of the HMAC. */
  readonly hash: string
}

/** Users that the config names, beside the devices of the file. */
export interface NamedPassword {
  readonly name: string
  readonly password: string
}

export interface DevicesOptions {
  readonly dataFolder: string
  /** The device secret (`openSecret`). */
  readonly secret: Buffer
  readonly users?: readonly NamedPassword[]
  /** Milliseconds that never go back. */
  readonly monotonic?: () => number
}

export class Devices {
  readonly #file: string
  readonly #secret: Buffer
  #users: ReadonlyMap<string, Buffer>
  readonly #monotonic: () => number
  /** Equal for no password: what an unknown name is compared with. */
  readonly #nobody = randomBytes(32)
  #devices = new Map<string, StoredDevice>()
  #version = ''
  #lookedAtMs = Number.NEGATIVE_INFINITY

  private constructor(options: DevicesOptions) {
    this.#file = join(options.dataFolder, 'devices.json')
    this.#secret = options.secret
    this.#monotonic = options.monotonic ?? (() => performance.now())
    this.#users = this.#hashed(options.users ?? [])
  }

  /** Errors: FESCUE_CONFIG_UNREADABLE when the file is damaged. */
  static async open(options: DevicesOptions): Promise<Devices> {
    const devices = new Devices(options)
    await devices.reload()
    return devices
  }

  /** Users that may connect, those of the config included. */
  get size(): number {
    return this.#devices.size + this.#users.size
  }

  /** Users that could connect if the config named these. */
  countWith(users: readonly NamedPassword[]): number {
    return this.#devices.size + users.length
  }

  /** Other users than those of the config so far. Returns whose password is no longer what it was. */
  setUsers(users: readonly NamedPassword[]): readonly string[] {
    const before = this.#users
    this.#users = this.#hashed(users)
    return [...before]
      .filter(([name, hash]) => this.#users.get(name)?.equals(hash) !== true)
      .map(([name]) => name)
  }

  list(): readonly DeviceEntry[] {
    return [...this.#devices.values()].map(({ name, createdAt }) => ({ name, createdAt }))
  }

  /**
   * Adds a device and returns its password, which is kept nowhere.
   * Errors: FESCUE_NAME_INVALID, FESCUE_CONFLICT, FESCUE_REQUEST_INVALID when there are `devicesMax`.
   */
  async add(name: string): Promise<string> {
    checkName('device', name)
    const password = randomBytes(passwordBytes).toString('base64url')
    const hash = this.#hash(name, password).toString('hex')
    await this.#edit(devices => {
      if (devices.has(name) || this.#users.has(name))
        throw new FescueError('FESCUE_CONFLICT', `there is a device "${name}" already: revoke it first`)
      if (devices.size >= devicesMax)
        throw new FescueError('FESCUE_REQUEST_INVALID', `there are ${devicesMax} devices already`)
      devices.set(name, { name, createdAt: new Date().toISOString(), hash })
    })
    return password
  }

  /** Removes a device. Its open connections are the broker's to close. Errors: FESCUE_NOT_FOUND. */
  async revoke(name: string): Promise<void> {
    await this.#edit(devices => {
      if (devices.delete(name)) return
      const close = nearest(name, devices.keys())
      const mend = close === undefined ? 'see fescue devices list' : `did you mean "${close}"?`
      throw new FescueError('FESCUE_NOT_FOUND', `there is no device "${name}": ${mend}`)
    })
  }

  /** The user's name when the password is right, else undefined. Takes the same time for unknown names. */
  async verify(username: string, password: string | Buffer): Promise<string | undefined> {
    await this.#refresh()
    const hash = this.#hash(username, password)
    const stored = this.#devices.get(username)
    const expected = this.#users.get(username) ?? (stored && Buffer.from(stored.hash, 'hex')) ?? this.#nobody
    return timingSafeEqual(hash, expected) ? username : undefined
  }

  /** Whether the name is still a user: for connections that stand since before a revocation. */
  async has(username: string): Promise<boolean> {
    await this.#refresh()
    return this.#devices.has(username) || this.#users.has(username)
  }

  /** Reads the file if it changed since. A damaged file keeps what was known after the first read. */
  async reload(): Promise<void> {
    const version = await versionOf(this.#file)
    if (version === this.#version) return
    this.#devices = await readDevices(this.#file)
    this.#version = version
  }

  async #refresh(): Promise<void> {
    const now = this.#monotonic()
    if (now - this.#lookedAtMs < staleMaxMs) return
    this.#lookedAtMs = now
    try {
      await this.reload()
    } catch {
      // Half-edited by hand: those who could connect still can, and the next look may find it whole.
    }
  }

  async #edit(change: (devices: Map<string, StoredDevice>) => void): Promise<void> {
    await withFileLock(this.#file, async () => {
      const devices = await readDevices(this.#file)
      change(devices)
      const text = `${JSON.stringify({ version: 1, devices: [...devices.values()] }, undefined, 2)}\n`
      await replacePrivateFile(this.#file, text)
    })
    await this.reload()
  }

  #hashed(users: readonly NamedPassword[]): ReadonlyMap<string, Buffer> {
    return new Map(users.map(({ name, password }) => [name, this.#hash(name, password)]))
  }

  #hash(name: string, password: string | Buffer): Buffer {
    // The NUL keeps (name, password) pairs apart; names have none.
    return createHmac('sha256', this.#secret).update(`mqtt\0${name}\0`).update(password).digest()
  }
}

/** Changes with every replacement of the file: inode, size and time to the nanosecond. */
async function versionOf(file: string): Promise<string> {
  try {
    const { ino, size, mtimeNs } = await stat(file, { bigint: true })
    return `${ino}/${size}/${mtimeNs}`
  } catch {
    return 'absent'
  }
}

async function readDevices(file: string): Promise<Map<string, StoredDevice>> {
  const content = await readPrivateFile(file, devicesFileMaxBytes)
  if (content === undefined) return new Map()
  try {
    const value: unknown = JSON.parse(content.toString('utf8'))
    const { devices } = value as { devices: unknown }
    if (!Array.isArray(devices) || !devices.every(isStoredDevice)) throw new Error('not a list of devices')
    return new Map(devices.slice(0, devicesMax).map(device => [device.name, device]))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const text = `${file} is damaged (${reason}): restore it from a backup, or remove it and add the devices anew`
    throw new FescueError('FESCUE_CONFIG_UNREADABLE', text, { cause: error })
  }
}

function isStoredDevice(value: unknown): value is StoredDevice {
  if (typeof value !== 'object' || value === null) return false
  const { name, createdAt, hash } = value as Partial<StoredDevice>
  return (
    typeof name === 'string' &&
    typeof createdAt === 'string' &&
    typeof hash === 'string' &&
    /^[0-9a-f]{64}$/.test(hash)
  )
}
