/** The API's token (DIR/token): 24 random bytes as base64url on one line, made once, mode 0600. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { FescueError } from '#base/errors.ts'
import { createPrivateFile, readPrivateFile } from './private-file.ts'

const tokenBytes = 24
/** Characters that a token must have at least: a shorter one, put there by hand, could be guessed. */
const tokenLengthMin = 16
const tokenFileMaxBytes = 1_024

export function tokenPath(dataFolder: string): string {
  return join(dataFolder, 'token')
}

/** Reads the token of a data folder, making it at first. Errors: FESCUE_CONFIG_UNREADABLE. */
export async function openToken(dataFolder: string): Promise<string> {
  const file = tokenPath(dataFolder)
  const known = await readPrivateFile(file, tokenFileMaxBytes)
  if (known === undefined) {
    await createPrivateFile(file, `${randomBytes(tokenBytes).toString('base64url')}\n`)
    return openToken(dataFolder)
  }
  const token = known.toString('utf8').trim()
  if (token.length >= tokenLengthMin && /^[\x21-\x7e]+$/.test(token)) return token
  throw new FescueError(
    'FESCUE_CONFIG_UNREADABLE',
    `${file} holds no token of at least ${tokenLengthMin} characters: remove it and a new one is made`,
  )
}
