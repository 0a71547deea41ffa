/**
 * What `fescue dev` shows: lines that scroll, and on a terminal one status line that stays below them.
 *
 *   14:32:07  sensors/kitchen/temperature {"celsius":31} → thermostat 0.8 ms → actuators/kitchen/fan {"on":true}
 *   …
 *   [o] cut the link  [p] publish  [x] exit     cloud connected · 0 waiting
 *
 * Into a pipe or a file nothing moves and nothing is coloured.
 */
import { styleText } from 'node:util'
import { isColourful, type Terminal } from './terminal.ts'

type Style = Parameters<typeof styleText>[0]

const clearLine = '\r\u001b[2K'

export class DevScreen {
  readonly #terminal: Terminal
  readonly #colourful: boolean
  #status = ''

  constructor(terminal: Terminal) {
    this.#terminal = terminal
    this.#colourful = isColourful(terminal, terminal.stdout)
  }

  /** Whether the status line and keys have a place to be. */
  get interactive(): boolean {
    return this.#colourful
  }

  style(style: Style, text: string): string {
    return this.#colourful ? styleText(style, text, { validateStream: false }) : text
  }

  line(text = ''): void {
    if (this.#status === '') this.#terminal.stdout.write(`${text}\n`)
    else this.#terminal.stdout.write(`${clearLine}${text}\n${this.#shownStatus()}`)
  }

  /** Replaces the status line; an empty one goes away. Into a pipe it is not shown at all. */
  status(text: string): void {
    if (!this.#colourful || text === this.#status) return
    const clear = this.#status === '' ? '' : clearLine
    this.#status = text
    this.#terminal.stdout.write(clear + this.#shownStatus())
  }

  /** One row only: a longer line would wrap, and then could not be cleared. */
  #shownStatus(): string {
    if (this.#status === '') return ''
    const columns = this.#terminal.stdout.columns ?? 80
    return styleText('inverse', ` ${this.#status} `.slice(0, columns - 1), { validateStream: false })
  }
}
