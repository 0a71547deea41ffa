/**
 * A YAML or JSON file with the place of every key: what config files and function manifests are read with.
 *
 *   text ── parseDocument ──► { value, problems }        value ── schema.ts ──► problems with paths
 *                                 positionOf(path)  ◄────────────────────────── file:line:column
 *
 * JSON is read by the same parser: YAML 1.2 contains it. Merge keys and custom tags are off, aliases and the
 * size of a document are bounded (D6).
 */
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument as parseYaml, visit } from 'yaml'

/** Bytes of a config file or manifest; more is refused unread. */
export const documentMaxBytes = 1024 * 1024
/** Problems of one document that are reported (D6). */
export const problemsMax = 50
/** Uses of one anchor before the document counts as a bomb. */
const aliasesMax = 50

/** Where a value stands: keys and list indexes from the top. */
export type KeyPath = readonly (string | number)[]

/** Lines and columns from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** One error in a document, ready to be shown: `where: message`. */
export interface Problem {
  /** `file:line:column`, or the name of an environment variable or flag. */
  readonly where: string
  readonly path: KeyPath
  readonly message: string
}

/** `routes[0].to`; the top is an empty text. */
export function pathText(path: KeyPath): string {
  let text = ''
  for (const key of path) text += typeof key === 'number' ? `[${key}]` : text === '' ? key : `.${key}`
  return text
}

/** One line per problem. */
export function problemsText(problems: readonly Problem[]): string {
  return problems.map(problem => `${problem.where}: ${problem.message}`).join('\n')
}

export interface SourceDocument {
  readonly file: string
  /** Plain data; an empty document is `{}`. Meaningless when there are problems. */
  readonly value: unknown
  /** Syntax errors, duplicate keys, aliases that grow or turn in a circle, too large, no UTF-8. */
  readonly problems: readonly Problem[]
  /** Place of the key (or of its value) at `path`; of the nearest parent that exists when it does not. */
  positionOf(path: KeyPath, part?: 'key' | 'value'): Position
  /** `file:line:column` of `positionOf`. */
  whereOf(path: KeyPath, part?: 'key' | 'value'): string
}

/** Parses text; never throws. `file` is only a name for messages. */
export function parseDocument(file: string, text: string): SourceDocument {
  if (Buffer.byteLength(text) > documentMaxBytes) {
    const where = `${file}:1:1`
    const message = `is larger than ${documentMaxBytes} bytes`
    return emptyDocument(file, [{ where, path: [], message }])
  }
  const foreign = /[\0\ufffd]/.exec(text)
  if (foreign !== null) {
    const before = text.slice(0, foreign.index).split('\n')
    const where = `${file}:${before.length}:${(before.at(-1)?.length ?? 0) + 1}`
    return emptyDocument(file, [{ where, path: [], message: 'is no UTF-8 text: save it as UTF-8' }])
  }
  const lines = new LineCounter()
  const options = { prettyErrors: false, merge: false, schema: 'core', logLevel: 'error' } as const
  const parsed = parseYaml(text, { ...options, lineCounter: lines })
  const problems: Problem[] = []
  const note = (offset: number, message: string): void => {
    problems.push({ where: `${file}:${placeText(positionAt(lines, offset))}`, path: [], message })
  }
  for (const { pos, message } of [...parsed.errors, ...parsed.warnings]) {
    if (problems.length === problemsMax) break
    // What is said after that is wrong.
    const tooDeep = message.includes('call stack')
    note(pos[0], tooDeep ? 'is nested too deeply' : message)
    if (tooDeep) break
  }
  let value: unknown
  try {
    value = problems.length > 0 ? undefined : (parsed.toJS({ maxAliasCount: aliasesMax }) ?? {})
    JSON.stringify(value)
  } catch (error) {
    // An alias that points nowhere, too many of them, or one that lies within what it stands for.
    const message = error instanceof Error ? error.message : String(error)
    note(firstAlias(parsed.contents), message.includes('circular') ? 'the alias contains itself' : message)
  }
  const top = parsed.contents
  const positionOf = (path: KeyPath, part: 'key' | 'value' = 'key'): Position =>
    positionAt(lines, offsetOf(top, path, part))
  return {
    file,
    value,
    problems,
    positionOf,
    whereOf: (path, part) => `${file}:${placeText(positionOf(path, part))}`,
  }
}

/** Character offset of the first alias. */
function firstAlias(top: Node | null): number {
  let offset = 0
  visit(top, {
    Alias(_, alias) {
      offset = startOf(alias) ?? 0
      return visit.BREAK
    },
  })
  return offset
}

function emptyDocument(file: string, problems: readonly Problem[]): SourceDocument {
  return {
    file,
    value: {},
    problems,
    positionOf: () => ({ line: 1, column: 1 }),
    whereOf: () => `${file}:1:1`,
  }
}

function positionAt(lines: LineCounter, offset: number): Position {
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(line, 1), column: Math.max(col, 1) }
}

function placeText({ line, column }: Position): string {
  return `${line}:${column}`
}

/** Character offset of the deepest part of `path` that exists. */
function offsetOf(top: Node | null, path: KeyPath, part: 'key' | 'value'): number {
  let node: Node | null = top
  let offset = startOf(top) ?? 0
  for (const [depth, key] of path.entries()) {
    const child = childOf(node, key)
    if (child === undefined) break
    const asKey = part === 'key' || depth < path.length - 1
    offset =
      (asKey ? startOf(child.key) : startOf(child.value)) ??
      startOf(child.key) ??
      startOf(child.value) ??
      offset
    node = child.value
  }
  return offset
}

interface Child {
  /** Absent in a list. */
  readonly key: Node | null
  readonly value: Node | null
}

function childOf(node: Node | null, key: string | number): Child | undefined {
  if (isMap<Node, Node | null>(node)) {
    const pair = node.items.find(item => isScalar(item.key) && String(item.key.value) === String(key))
    return pair && { key: pair.key, value: pair.value }
  }
  if (isSeq<Node>(node) && typeof key === 'number') {
    const value = node.items[key]
    return value && { key: null, value }
  }
  return undefined
}

function startOf(node: Node | null): number | undefined {
  return node?.range?.[0]
}
