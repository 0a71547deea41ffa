/** Parsers of numbers among the arguments; what they throw is a usage error. */
import { InvalidArgumentError } from 'commander'

export function parsePort(text: string): number {
  const port = Number(text)
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port
  throw new InvalidArgumentError('It is a number from 0 to 65535.')
}

export function parsePositive(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value > 0 && Number.isFinite(value)) return value
  throw new InvalidArgumentError('It is a number above 0.')
}

export function parseQos(text: string): number {
  if (/^[012]$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is 0, 1 or 2.')
}

/** An offset of a log: a whole number from 0. */
export function parseOffset(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is a whole number from 0.')
}
