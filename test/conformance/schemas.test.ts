/**
 * Every key of the device config and of `function.yaml`, enumerated from the schemas: of a wrong type, out of its range, or
 * misspelt, it is named with file, line, column and what is allowed. A new key is tested by being there.
 */
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { FescueError } from '#base/errors.ts'
import { editDistance } from '#base/nearest.ts'
import type { SchemaNode } from '#base/schema.ts'
import { type KeyPath, pathText } from '#base/yaml-document.ts'
import { configSchema } from '#config/config-schema.ts'
import { loadConfig } from '#config/load-config.ts'
import { manifestReader } from '#invoker/manifest.ts'
import { manifestSchema } from '#invoker/manifest-schema.ts'

/** What more of a node the tests look at. */
interface Node extends SchemaNode {
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly maxItems?: number
  readonly uniqueItems?: boolean
  readonly required?: readonly string[]
  readonly propertyNames?: { readonly pattern: string }
}

interface Place {
  readonly path: KeyPath
  readonly node: Node
  /** Names that are known beside its own. */
  readonly siblings: readonly string[]
}

/** Every key, list item (as index 0) and freely named entry (as `any`) of a schema. */
function placesOf(node: Node, path: KeyPath = []): Place[] {
  const siblings = Object.keys(node.properties ?? {})
  const children: [string | number, Node][] = Object.entries(node.properties ?? {})
  if (node.items !== undefined) children.push([0, node.items])
  if (typeof node.additionalProperties === 'object') children.push(['any', node.additionalProperties])
  return children.flatMap(([key, child]) => {
    const below = [...path, key]
    return [{ path: below, node: child, siblings }, ...placesOf(child, below)]
  })
}

/** A document with one key or item a line down to the path, and there the value; and where the value begins. */
function textAt(path: KeyPath, value: string): { text: string; where: string } {
  const lines = path.map((key, depth) => `${'  '.repeat(depth)}${typeof key === 'number' ? '-' : `${key}:`}`)
  const column = (lines.at(-1)?.length ?? 0) + 2
  return { text: `${lines.join('\n')} ${value}\n`, where: `${path.length}:${column}` }
}

const valuesOfType: Readonly<Record<string, string>> = {
  object: '{ zzz: 1 }',
  array: '[]',
  boolean: 'true',
  integer: '7',
  number: '1.5',
  string: '"?"',
  null: '~',
}

function wrongTypes({ type }: Node): string[] {
  const allowed = [type ?? []].flat()
  if (allowed.length === 0) return []
  // 7 is a number too.
  return Object.entries(valuesOfType).flatMap(([name, value]) =>
    allowed.includes(name) || (name === 'integer' && allowed.includes('number')) ? [] : [value],
  )
}

function wrongRanges(node: Node): string[] {
  const values: string[] = []
  if (node.minimum !== undefined) values.push(String(node.minimum - 1))
  if (node.maximum !== undefined) values.push(String(node.maximum + 1))
  if (node.pattern !== undefined || node.enum !== undefined) values.push('"? not this ?"')
  if (node.minLength !== undefined) values.push('""')
  if (node.maxLength !== undefined) values.push(`"${'x'.repeat(node.maxLength + 1)}"`)
  if (node.maxItems !== undefined) values.push(`[${Array(node.maxItems + 1).fill('{}')}]`)
  const [choice] = node.items?.enum ?? []
  if (node.uniqueItems === true && choice !== undefined) values.push(`[${choice}, ${choice}]`)
  return values
}

function misspelt(key: string): string[] {
  const middle = Math.floor(key.length / 2)
  return [key + key.at(-1), ...(key.length > 3 ? [key.slice(0, middle) + key.slice(middle + 1)] : [])]
}

type Refusal = (text: string) => Promise<readonly string[]>

async function refusalOf(code: string, work: () => unknown): Promise<readonly string[]> {
  try {
    await work()
    return []
  } catch (error) {
    if (error instanceof FescueError && error.code === code) return error.message.split('\n')
    throw error
  }
}

const readManifest = await manifestReader()
const refusesManifest: Refusal = text =>
  refusalOf('FESCUE_MANIFEST_INVALID', () => readManifest('f', text, 'f.yaml'))

async function refusesConfig(text: string): Promise<readonly string[]> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-schema-'))
  const file = join(folder.path, 'f.yaml')
  await writeFile(file, text)
  const lines = await refusalOf('FESCUE_CONFIG_INVALID', () =>
    loadConfig({ file, environment: {}, cwd: folder.path }),
  )
  return lines.map(line => line.replace(`${folder.path}/`, ''))
}

for (const [name, schema, refusal] of [
  ['device config', configSchema, refusesConfig],
  ['function.yaml', manifestSchema, refusesManifest],
] as const) {
  const places = placesOf(schema as Node)

  t.test(`${name}: a wrong type names place, key and what is allowed`, async t => {
    for (const { path, node } of places)
      for (const value of wrongTypes(node)) {
        const { text, where } = textAt(path, value)
        const lines = await refusal(text)
        const begins = `f.yaml:${where}: ${pathText(path)} `
        const line = lines.find(each => each.startsWith(begins))
        const says = line !== undefined && /must be|is empty: give it/.test(line)
        if (!says) t.fail(`${text}${begins}: ${lines.join(' | ')}`)
      }
    t.ok(places.length > 20, `${places.length} keys`)
  })

  t.test(`${name}: a value out of its range names place, key and what is allowed`, async t => {
    let tried = 0
    for (const { path, node } of places)
      for (const value of wrongRanges(node)) {
        const { text, where } = textAt(path, value)
        const lines = await refusal(text)
        const begins = `f.yaml:${where}: ${pathText(path)} `
        if (!lines.some(each => each.startsWith(begins) && /must/.test(each)))
          t.fail(`${text.slice(0, 300)}${begins}: ${lines.join(' | ')}`)
        tried += 1
      }
    t.ok(tried > 20, `${tried} values`)
  })

  t.test(`${name}: a misspelt key names place, key and the nearest valid name`, async t => {
    for (const { path, siblings } of places) {
      const key = path.at(-1)
      if (typeof key !== 'string' || !siblings.includes(key)) continue
      for (const wrong of misspelt(key).filter(each => !siblings.includes(each))) {
        const full = [...path.slice(0, -1), wrong]
        const { text } = textAt(full, '1')
        const lines = await refusal(text)
        const place = `f.yaml:${path.length}:${2 * (path.length - 1) + 1}`
        const begins = `${place}: unknown key ${pathText(full)}: did you mean `
        const line = lines.find(each => each.startsWith(begins))
        // Another name may be as near: hots is hosts and host.
        const named = line?.slice(begins.length).replace(/^.*\.|\?$/g, '') ?? ''
        const near = siblings.includes(named) && editDistance(wrong, named) <= editDistance(wrong, key)
        if (!near) t.fail(`${text}${begins}${key}: ${lines.join(' | ')}`)
      }
    }
    t.pass()
  })

  t.test(`${name}: what a map needs is named`, async t => {
    for (const { path, node } of places)
      for (const key of node.required ?? []) {
        const { text } = textAt(path, '{}')
        const lines = await refusal(text)
        if (
          !lines.some(
            each => each.startsWith('f.yaml:') && each.includes(`${pathText(path)} needs the key "${key}"`),
          )
        )
          t.fail(`${text}: ${lines.join(' | ')}`)
      }
    t.pass()
  })

  t.test(`${name}: text that is no document`, async t => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${[...'bcdefgh'].map((key, i) => `${key}: &${key} [${Array(9).fill(`*${'abcdefg'[i]}`).join(',')}]`).join('\n')}\n`
    const cases: [text: string, expected: RegExp][] = [
      ['a: [1\nb: 2', /^f\.yaml:2:1: /],
      ['description: a\ndescription: b\n', /^f\.yaml:2:1: Map keys must be unique/],
      ['a:\n\tb: 1\n', /^f\.yaml:2:1: Tabs are not allowed/],
      [bomb, /^f\.yaml:2:\d+: Excessive alias count/],
      ['a: &a { b: *a }\n', /^f\.yaml:1:12: the alias contains itself/],
      ['a: *nowhere\n', /^f\.yaml:1:4: Unresolved alias/],
      ['['.repeat(50_000), /^f\.yaml:1:\d+: is nested too deeply$/],
      ['\ufeffzzz: 1\n', /^f\.yaml:1:\d+: unknown key zzz/],
      ['\0\x01binary', /^f\.yaml:1:1: is no UTF-8 text/],
      [`a: 1\nb: ${Buffer.from([0x67, 0xfc]).toString()}`, /^f\.yaml:2:5: is no UTF-8 text/],
      ['just words', /^f\.yaml:1:1: the file must be a map of keys/],
      ['- a\n- b\n', /^f\.yaml:1:1: the file must be a map of keys/],
      ['42', /^f\.yaml:1:1: the file must be a map of keys/],
      ['? [a, b]\n: 1\n', /^f\.yaml:1:\d+: unknown key/],
      ['__proto__: { a: 1 }\n', /^f\.yaml:1:1: unknown key __proto__/],
      [`a: ${'x'.repeat(2 ** 20)}`, /^f\.yaml:1:1: is larger than 1048576 bytes/],
    ]
    for (const [text, expected] of cases) {
      const lines = await refusal(text)
      t.match(lines[0], expected, JSON.stringify(text.slice(0, 60)))
    }
    for (const text of ['', '\n', '# nothing\n', '---\n', '\ufeff'])
      t.same(await refusal(text), [], 'nothing is fine')
  })
}

t.test('a config file that is a folder, a device or out of reach', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-schema-'))
  const file = join(folder.path, 'f.yaml')
  const load = (path: string) => loadConfig({ file: path, environment: {}, cwd: folder.path })
  const unreadable = (message: RegExp) => ({ code: 'FESCUE_CONFIG_UNREADABLE', message })
  await t.rejects(load(folder.path), unreadable(/is a folder/))
  await t.rejects(load('/dev/zero'), unreadable(/is a device or pipe/))
  await t.resolves(load('/dev/null'), 'nothing at all is a config of defaults')
  await t.rejects(load(join(folder.path, 'none.yaml')), unreadable(/none\.yaml: ENOENT/))
  await writeFile(file, 'device: a\n', { mode: 0o000 })
  const root = process.geteuid?.() === 0
  if (root) process.seteuid?.(65_534)
  try {
    await t.rejects(load(file), unreadable(/EACCES/))
  } finally {
    if (root) process.seteuid?.(0)
  }
})
