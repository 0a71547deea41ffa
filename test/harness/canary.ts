/**
 * Canary builds: the product with one promise broken on purpose, made at load time by changing one piece of
 * one source file. A harness that does not fail on them proves nothing. Used as `node --import FILE main.ts`,
 * with CANARY_BUILD naming the file, the text and its replacement as JSON.
 */
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'

export interface Canary {
  /** Path from the root of the project. */
  readonly file: string
  readonly text: string
  readonly replacement: string
}

const json = process.env.CANARY_BUILD
if (json !== undefined) install(JSON.parse(json) as Canary)

function install({ file, text, replacement }: Canary): void {
  registerHooks({
    load(url, context, nextLoad) {
      if (!url.endsWith(`/${file}`)) return nextLoad(url, context)
      const source = readFileSync(fileURLToPath(url), 'utf8')
      if (!source.includes(text)) throw new Error(`canary: ${file} no longer contains: ${text}`)
      return {
        format: 'module-typescript',
        source: source.replace(text, () => replacement),
        shortCircuit: true,
      }
    },
  })
}
