/** `fescue config reload`: the daemon reads its configuration again; what changed, or why nothing was applied. */
import type { ReloadOutcome } from '#api/backend.ts'
import { FescueError } from '#base/errors.ts'
import { problemTexts } from './config-validate.ts'
import { findDaemon, type TargetOptions } from './daemon-target.ts'
import type { Terminal } from './terminal.ts'

type Change = ReloadOutcome['changes'][number]

const effects: Readonly<Record<Change['effect'], string>> = {
  live: '',
  'next-start': ', counts at the next start',
  restart: ' needs a restart',
}

/** Errors: FESCUE_CONFIG_INVALID, FESCUE_RESTART_NEEDED and those of finding the daemon. */
export async function reload(
  options: TargetOptions & { readonly json?: boolean },
  terminal: Terminal,
): Promise<void> {
  const client = await findDaemon(options, terminal)
  const write = (outcome: ReloadOutcome) => {
    if (options.json === true) terminal.stdout.write(`${JSON.stringify(outcome)}\n`)
    else terminal.stderr.write(outcomeText(outcome))
  }
  try {
    write(await client.call<ReloadOutcome>('/api/v1/config/reload', { method: 'POST' }))
  } catch (error) {
    if (!(error instanceof FescueError)) throw error
    if (error.code === 'FESCUE_RESTART_NEEDED') write(error.cause as ReloadOutcome)
    if (error.code === 'FESCUE_CONFIG_INVALID') throw await withFrames(error, options, terminal)
    throw error
  }
}

function outcomeText({ outcome, changes }: ReloadOutcome): string {
  const lines = changes.map(change => `  ${changeText(change)}\n`)
  if (outcome === 'unchanged') return 'Nothing has changed.\n'
  return `${outcome === 'applied' ? 'Applied' : 'Nothing was applied'}:\n${lines.join('')}`
}

function changeText({ key, effect, where, detail }: Change): string {
  const more = detail === undefined ? '' : ` (${detail})`
  const place = where === '' ? ', now the default' : `, ${where}`
  return `${key}${effects[effect]}${more}${place}`
}

/** The lines around each problem, when the file is on this machine. */
async function withFrames(
  error: FescueError,
  options: TargetOptions,
  terminal: Terminal,
): Promise<FescueError> {
  const problems = error.message.split('\n').map(line => {
    const [, where = '', message = line] = /^(.+?:\d+:\d+): (.*)$/.exec(line) ?? []
    return { where, message }
  })
  if (options.url !== undefined || problems.some(({ where }) => where === '')) return error
  for (const text of await problemTexts(problems, terminal.cwd)) terminal.stderr.write(`${text}\n\n`)
  const text = 'the configuration was not applied: the one before stays in force'
  return new FescueError('FESCUE_CONFIG_INVALID', text, { cause: error })
}
