/** Takes the place of src/base/compiled-schemas.ts in the bundle: the checks of all schemas in src/, as code of their own. */

import { globSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import type { Plugin } from 'esbuild'
import { ajvOptions } from '../src/base/schema.ts'

const standaloneCode: (ajv: Ajv, refs: Record<string, string>) => string = createRequire(import.meta.url)(
  'ajv/dist/standalone',
).default

/** The text of the module. A schema is known by its JSON text. */
export function compiledSchemas(root: string): string {
  const ajv = new Ajv({ ...ajvOptions, code: { ...ajvOptions.code, source: true } })
  const names: Record<string, string> = {}
  const texts: Record<string, string> = {}
  for (const [index, file] of globSync('src/**/*.schema.json', { cwd: root }).sort().entries()) {
    const { $schema: _, ...rules } = JSON.parse(readFileSync(join(root, file), 'utf8'))
    ajv.addSchema(rules, file)
    names[`check${index}`] = file
    texts[`check${index}`] = JSON.stringify(rules)
  }
  // ajv writes CommonJS.
  return `const exports = {}, module = { exports }
${standaloneCode(ajv, names)}
const texts = ${JSON.stringify(texts)}
export function compiledCheck(rules) {
  const text = JSON.stringify(rules)
  const name = Object.keys(texts).find(each => texts[each] === text)
  return name === undefined ? undefined : module.exports[name]
}
`
}

export function schemasAhead(root: string): Plugin {
  return {
    name: 'schemas compiled ahead',
    setup({ onLoad }) {
      onLoad({ filter: /\/base\/compiled-schemas\.ts$/ }, () => ({
        contents: compiledSchemas(root),
        loader: 'js',
        resolveDir: root,
      }))
    },
  }
}
