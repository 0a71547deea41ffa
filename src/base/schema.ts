/**
 * Checks data against a JSON Schema (draft-07) and says what is wrong in words: the key path, what is allowed,
 * the nearest valid name. Config files and function manifests are checked with it.
 *
 *   schema ── compileSchema ──► Check ── value ──► SchemaProblem[] ── checkDocument ──► Problem[] (file:line:column)
 *
 * All errors are found at once. `examples` of a schema stand in the message of a broken `pattern`; the value of
 * a key with `writeOnly` (a secret) is never shown. ajv is loaded with the first schema that was not compiled ahead: it costs 5 MB.
 */
import type { ErrorObject, ValidateFunction } from 'ajv'
import { compiledCheck } from './compiled-schemas.ts'
import { nearest } from './nearest.ts'
import { type KeyPath, type Problem, pathText, problemsMax, type SourceDocument } from './yaml-document.ts'

/** What of a JSON Schema this file looks at. */
export interface SchemaNode {
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly additionalProperties?: SchemaNode | boolean
  readonly items?: SchemaNode
  readonly enum?: readonly unknown[]
  readonly minimum?: number
  readonly maximum?: number
  readonly examples?: readonly unknown[]
  readonly description?: string
  readonly default?: unknown
  readonly writeOnly?: boolean
}

export interface SchemaProblem {
  readonly path: KeyPath
  /** Whether the key itself is wrong, or its value. */
  readonly part: 'key' | 'value'
  /** A sentence that begins with the key path or names it. */
  readonly message: string
}

/** Finds all problems of a value, at most `problemsMax`. */
export type Check = (value: unknown) => readonly SchemaProblem[]

/** Characters of a wrong value that are shown. */
const shownValueMax = 60

/** Without the meta-schema and the optimizer a compilation leaves 4 MB less behind; tests check the schemas. */
export const ajvOptions = {
  allErrors: true,
  verbose: true,
  allowUnionTypes: true,
  meta: false,
  validateSchema: false,
  code: { optimize: false },
} as const

/** Compiles a schema, unless that was done ahead. Unknown keywords in it are an error: schemas are ours. */
export async function compileSchema(schema: object): Promise<Check> {
  const { $schema: _, ...rules } = schema as { $schema?: string }
  const validate = compiledCheck(rules) ?? (await compile(rules))
  return value => {
    if (validate(value)) return []
    return (validate.errors ?? [])
      .slice(0, problemsMax)
      .flatMap(error => problemOf(error, schema as SchemaNode))
  }
}

async function compile(rules: object): Promise<ValidateFunction> {
  // By its default: in a bundle a CommonJS package that loads lazily has no other export.
  const { Ajv } = (await import('ajv')).default
  return new Ajv(ajvOptions).compile(rules)
}

/** The document's own problems, or those against the schema with their places. */
export function checkDocument(document: SourceDocument, check: Check): readonly Problem[] {
  if (document.problems.length > 0) return document.problems
  return check(document.value).map(({ path, part, message }) => ({
    where: document.whereOf(path, part),
    path,
    message,
  }))
}

/** The schema at a path; undefined when the path is unknown to it. */
export function schemaAt(schema: SchemaNode, path: KeyPath): SchemaNode | undefined {
  let node: SchemaNode | undefined = schema
  for (const key of path) {
    if (typeof key === 'number') node = node?.items
    else {
      const other: SchemaNode | boolean | undefined = node?.additionalProperties
      node = node?.properties?.[key] ?? (typeof other === 'object' ? other : undefined)
    }
  }
  return node
}

/** All key paths that a schema names, `routes[].to` style, without those under free names. */
export function keyPathsOf(schema: SchemaNode, prefix: KeyPath = []): KeyPath[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, node]) => {
    const path = [...prefix, key]
    return [path, ...keyPathsOf(node, path)]
  })
}

function problemOf(error: ErrorObject, root: SchemaNode): SchemaProblem | [] {
  const path = pathOf(error.instancePath)
  const node = (error.parentSchema ?? {}) as SchemaNode
  switch (error.keyword) {
    case 'additionalProperties':
      return unknownKey(path, String(error.params.additionalProperty), node, root)
    case 'required':
      return { path, part: 'key', message: `${name(path)} needs the key "${error.params.missingProperty}"` }
    case 'propertyNames': {
      const bad = String(error.params.propertyName)
      const message = `${name([...path, bad])}: names are 1 to 64 of A-Z a-z 0-9 . _ -`
      return { path: [...path, bad], part: 'key', message }
    }
    default: {
      // The details of a bad name come beside its `propertyNames`.
      if (error.schemaPath.includes('/propertyNames/')) return []
      const message = `${name(path)} ${demandOf(error, node)}`
      return { path, part: 'value', message }
    }
  }
}

function unknownKey(path: KeyPath, key: string, node: SchemaNode, root: SchemaNode): SchemaProblem {
  const full = [...path, key]
  const known = Object.keys(node.properties ?? {})
  const close = nearest(key, known)
  const suggestions = close === undefined ? elsewhere(key, root) : [pathText([...path, close])]
  const mend =
    suggestions.length > 0 ? `did you mean ${suggestions.join(' or ')}?` : `allowed here: ${known.join(', ')}`
  return { path: full, part: 'key', message: `unknown key ${pathText(full)}: ${mend}` }
}

/** Paths that end in this very key somewhere else: `port` at the top means `mqtt.port` or `http.port`. */
function elsewhere(key: string, root: SchemaNode): string[] {
  return keyPathsOf(root)
    .filter(path => path.at(-1) === key)
    .slice(0, 3)
    .map(pathText)
}

/** What the value must be, after the key's name. */
function demandOf(error: ErrorObject, node: SchemaNode): string {
  const shown = node.writeOnly === true ? '' : `, not ${show(error.data)}`
  switch (error.keyword) {
    case 'type':
      return error.data === null
        ? `is empty: give it ${typeWords(node)} or remove the key`
        : `must be ${typeWords(node)}${shown}`
    case 'enum': {
      const values = (node.enum ?? []).map(String)
      const close = typeof error.data === 'string' ? nearest(error.data, values) : undefined
      return `must be one of ${values.join(', ')}${shown}${close === undefined ? '' : `: did you mean ${close}?`}`
    }
    case 'minimum':
    case 'maximum':
      return `must be ${rangeWords(node)}${shown}`
    case 'pattern':
      return `must look like ${(node.examples ?? []).map(String).join(' or ') || String(error.schema)}${shown}`
    default:
      return `${error.message ?? 'is not valid'}${shown}`
  }
}

const words: Readonly<Record<string, string>> = {
  string: 'text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map of keys',
  null: 'empty',
}

function typeWords(node: SchemaNode): string {
  const types = [node.type ?? []].flat()
  const text = types.map(type => words[type] ?? type).join(' or ')
  return node.examples === undefined ? text : `${text} (like ${node.examples.map(show).join(' or ')})`
}

function rangeWords({ minimum, maximum }: SchemaNode): string {
  if (minimum === undefined) return `at most ${maximum}`
  return maximum === undefined ? `at least ${minimum}` : `${minimum} to ${maximum}`
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > shownValueMax ? `${text.slice(0, shownValueMax)}…` : text
}

function name(path: KeyPath): string {
  return path.length === 0 ? 'the file' : pathText(path)
}

/** A JSON pointer (RFC 6901) as a path; whole numbers are list indexes. */
function pathOf(pointer: string): KeyPath {
  return pointer
    .split('/')
    .slice(1)
    .map(part => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map(part => (/^(0|[1-9]\d*)$/.test(part) ? Number(part) : part))
}
