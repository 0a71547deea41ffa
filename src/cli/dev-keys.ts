/** Single keys of `fescue dev`: the terminal in raw mode, put back whatever happens. */
import type { Terminal } from './terminal.ts'

export type KeyActions = Readonly<Record<string, () => void>>

const controlC = '\u0003'

/**
 * Calls an action for each key until it is disposed; Ctrl-C is the key `x`. `undefined` without a terminal.
 * Upper case is the same key.
 */
export function listenToKeys(terminal: Terminal, actions: KeyActions): Disposable | undefined {
  if (terminal.stdout.isTTY !== true) return undefined
  const stdin = terminal.stdin()
  if (!stdin.isTTY) return undefined
  const onData = (data: Buffer) => {
    for (const key of data.toString('latin1').toLowerCase()) actions[key === controlC ? 'x' : key]?.()
  }
  stdin.setRawMode(true)
  stdin.on('data', onData)
  return {
    [Symbol.dispose]() {
      stdin.off('data', onData)
      stdin.setRawMode(false)
      stdin.pause()
    },
  }
}
