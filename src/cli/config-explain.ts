/** `fescue config explain`: what a key means; without a key all of them in one table. */
import { FescueError } from '#base/errors.ts'
import type { ChangeEffect } from '#config/config-changes.ts'
import { docsFor, type KeyDoc, keyDocs, keysLike } from '#config/key-docs.ts'
import { valueText } from './format.ts'
import { writeTable } from './table.ts'
import type { Terminal } from './terminal.ts'

const effects: Readonly<Record<ChangeEffect, string>> = {
  live: 'applies at a reload',
  'next-start': 'counts at the next start',
  restart: 'needs a restart',
}

/** Errors: FESCUE_NOT_FOUND, with the nearest key. */
export function explain(
  key: string | undefined,
  options: { readonly json?: boolean },
  terminal: Terminal,
): void {
  const docs = key === undefined ? keyDocs() : docsFor(key)
  if (key !== undefined && docs.length === 0) throw unknownKey(key)
  if (options.json === true) terminal.stdout.write(`${JSON.stringify(docs)}\n`)
  else if (key === undefined) writeTable(terminal.stdout, head, docs.map(row))
  else terminal.stdout.write(`${docs.map(paragraph).join('\n\n')}\n`)
}

const head = ['key', 'type', 'default', 'a change', 'meaning']

function row(doc: KeyDoc): string[] {
  return [doc.key, doc.type, defaultText(doc), effects[doc.effect], doc.description]
}

function paragraph(doc: KeyDoc): string {
  const { key, type, description, allowed, examples, variable, effect } = doc
  const facts: [string, string][] = [
    ['type', allowed === undefined ? type : `one of ${allowed.map(valueText).join(', ')}`],
    ['default', defaultText(doc)],
  ]
  if (examples.length > 0) facts.push(['example', examples.map(valueText).join(' or ')])
  if (variable !== undefined) facts.push(['variable', variable])
  facts.push(['a change', effects[effect]])
  const width = Math.max(...facts.map(([name]) => name.length))
  return [key, `  ${description}`, ...facts.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`)].join(
    '\n',
  )
}

function defaultText(doc: KeyDoc): string {
  if (doc.default !== undefined) return valueText(doc.default)
  return doc.required ? '(required)' : '(none)'
}

function unknownKey(key: string): FescueError {
  const close = keysLike(key)
  const mend =
    close.length > 0 ? `did you mean ${close.join(' or ')}?` : 'fescue config explain lists all keys'
  return new FescueError('FESCUE_NOT_FOUND', `there is no config key "${key}": ${mend}`)
}
