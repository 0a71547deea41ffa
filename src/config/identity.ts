/**
 * Who a device is when its image does not say: name, cloud and token from a file on the boot partition, which a person can
 * write when the card is made. At the first start they move into the data folder, and the token leaves the boot file.
 *
 *   /boot/firmware/fescue.yaml ── adoptBootFile ──► DIR/identity.yaml      device, uplink.url, uplink.tokenFile
 *     device: greenhouse-7                     └──► DIR/uplink-token       mode 0600, like the first
 *     url: https://…            config file, environment and flags go before what stands there (layers.ts)
 *     token: …
 *
 * An identity is never replaced: the token is written first, the identity last, and only then is the boot file
 * touched. A power cut between leaves a file that the next start takes up again.
 */
import { chown, open, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { stringify } from 'yaml'
import { FescueError } from '#base/errors.ts'
import { parseDocument, problemsText, type SourceDocument } from '#base/yaml-document.ts'
import { createPrivateFile, readPrivateFile, replacePrivateFile } from './private-file.ts'

const identityFileMaxBytes = 4_096
const bootFileMaxBytes = 16 * 1024
/** Characters of a token. */
const tokenMaxChars = 8_192

/** What happened to a boot file. */
export type Adoption =
  | { readonly kind: 'adopted'; readonly device: string | undefined; readonly tokenMoved: boolean }
  /** There is an identity already, and it is another one. The boot file is as it was. */
  | { readonly kind: 'refused'; readonly identityFile: string }
  /** The identity came from this very file: at most its token had still to be removed. */
  | { readonly kind: 'known'; readonly tokenMoved: boolean }

interface BootFile {
  readonly device: string | undefined
  readonly url: string | undefined
  readonly token: string | undefined
}

export function identityPath(dataFolder: string): string {
  return join(dataFolder, 'identity.yaml')
}

/** The identity of a data folder as a layer of the config; undefined when there is none, or none of ours to read. */
export async function readIdentity(dataFolder: string): Promise<SourceDocument | undefined> {
  const file = identityPath(dataFolder)
  try {
    const content = await readPrivateFile(file, identityFileMaxBytes)
    return content === undefined ? undefined : parseDocument(file, content.toString('utf8'))
  } catch (error) {
    // Commands of other users run without it: they have their own way to the daemon.
    const cause = error instanceof Error ? error.cause : undefined
    if (cause instanceof Error && 'code' in cause && cause.code === 'EACCES') return undefined
    throw error
  }
}

/**
 * Takes up a boot file. Errors: FESCUE_CONFIG_UNREADABLE; FESCUE_CONFIG_INVALID for what it says, and then nothing is changed.
 */
export async function adoptBootFile(file: string, dataFolder: string): Promise<Adoption> {
  const text = await readBootFile(file)
  const given = bootFileOf(file, text)
  const tokenFile = resolve(dataFolder, 'uplink-token')
  const identityFile = identityPath(dataFolder)
  const identity = identityText(given, tokenFile)
  const known = await readPrivateFile(identityFile, identityFileMaxBytes)
  if (known !== undefined) {
    const token = (await readPrivateFile(tokenFile, tokenMaxChars + 1))?.toString('utf8').trim()
    const same = given.token === token && known.toString('utf8') === identity
    if (given.token === undefined) return { kind: 'known', tokenMoved: false }
    if (!same) return { kind: 'refused', identityFile }
    await withoutToken(file, text)
    return { kind: 'known', tokenMoved: true }
  }
  if (given.token !== undefined) await replacePrivateFile(tokenFile, `${given.token}\n`)
  await createPrivateFile(identityFile, identity)
  await giveToOwner(dataFolder, given.token === undefined ? [identityFile] : [tokenFile, identityFile])
  if (given.token !== undefined) await withoutToken(file, text)
  return { kind: 'adopted', device: given.device, tokenMoved: given.token !== undefined }
}

function identityText({ device, url, token }: BootFile, tokenFile: string): string {
  const uplink = { ...(url && { url }), ...(token && { tokenFile }) }
  return stringify({ ...(device && { device }), ...(Object.keys(uplink).length > 0 && { uplink }) })
}

async function readBootFile(file: string): Promise<string> {
  try {
    const { size } = await stat(file)
    if (size > bootFileMaxBytes) throw new Error(`it is larger than ${bootFileMaxBytes} bytes`)
    await using handle = await open(file)
    return await handle.readFile('utf8')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new FescueError('FESCUE_CONFIG_UNREADABLE', `cannot read ${file}: ${reason}`, { cause: error })
  }
}

/** The three keys, each a text on a line of its own (so that the token's line can be removed). */
function bootFileOf(file: string, text: string): BootFile {
  const document = parseDocument(file, text)
  const refuse = (message: string) => {
    throw new FescueError('FESCUE_CONFIG_INVALID', message)
  }
  if (document.problems.length > 0) refuse(problemsText(document.problems))
  const value = document.value as Record<string, unknown>
  for (const [key, each] of Object.entries(value)) {
    const where = document.whereOf([key])
    if (!['device', 'url', 'token'].includes(key))
      refuse(`${where}: unknown key ${key}: this file takes device, url and token`)
    if (typeof each !== 'string' || each === '') refuse(`${where}: ${key} must be a text`)
  }
  const { device, url, token } = value as { device?: string; url?: string; token?: string }
  if (device !== undefined && !/^[A-Za-z0-9._-]{1,64}$/.test(device))
    refuse(`${document.whereOf(['device'])}: device must be 1 to 64 of A-Z a-z 0-9 . _ -`)
  if (url !== undefined && !/^https?:$/.test(URL.parse(url)?.protocol ?? ''))
    refuse(`${document.whereOf(['url'])}: url must begin with https:// or http://`)
  if (token !== undefined && (!/^[\x21-\x7e]+$/.test(token) || token.length > tokenMaxChars))
    refuse(`${document.whereOf(['token'])}: token must be one word on its line`)
  if (token !== undefined && !tokenLine.test(text))
    refuse(`${document.whereOf(['token'])}: write the token as a line "token: …"`)
  return { device, url, token }
}

const tokenLine = /^token:.*$/m

/**
 * Removes the token in place: first blanked where it stood, then cut off. (What a flash card keeps of old blocks is out of
 * reach; a rename would leave the old file's blocks as they were on every medium.)
 */
async function withoutToken(file: string, text: string): Promise<void> {
  const rest = text.replace(tokenLine, '# The token was moved into the data folder.')
  await using handle = await open(file, 'r+')
  const length = Buffer.byteLength(text)
  await handle.write(Buffer.alloc(length, '\n'), 0, length, 0)
  await handle.sync()
  const bytes = Buffer.from(rest)
  await handle.write(bytes, 0, bytes.length, 0)
  await handle.truncate(bytes.length)
  await handle.sync()
}

/** It is root who may write to the boot partition, but the folder's owner who runs the daemon. */
async function giveToOwner(dataFolder: string, files: readonly string[]): Promise<void> {
  const { uid, gid } = await stat(dataFolder)
  if (uid === process.getuid?.()) return
  for (const file of files) await chown(file, uid, gid)
}
