/** The daemon's log as lines of the `dev` screen: warnings and errors, and what functions print. */
import type { Logger } from '#base/logger.ts'
import type { DevScreen } from './dev-screen.ts'

const nothing = (): void => {}

export function devLogger(screen: DevScreen, bindings: Readonly<Record<string, unknown>> = {}): Logger {
  const write = (style: 'yellow' | 'red', name: string) => (fields: object, message?: string) => {
    const all: Record<string, unknown> = { ...bindings, ...fields }
    const where = String(all.function ?? all.part ?? all.name ?? 'daemon')
    screen.line(
      screen.style(style, `${name} ${where}: ${[message, reasonOf(all)].filter(Boolean).join(': ')}`),
    )
  }
  return {
    debug: nothing,
    info: nothing,
    warn: write('yellow', 'warning'),
    error: write('red', 'error'),
    child: more => devLogger(screen, { ...bindings, ...more }),
  }
}

function reasonOf(fields: Readonly<Record<string, unknown>>): string | undefined {
  const error = fields.err ?? fields.error ?? fields.reason
  if (error instanceof Error) return error.message
  return typeof error === 'string' ? error : undefined
}
