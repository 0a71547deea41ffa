/**
 * The guest's code as one text for an isolate.
 *
 * In a checkout the text is made from the files beside this one: types are stripped by Node's own stripper, `import` and
 * `export` go, and the rest follows in the order below within one function, whose value is `boot`. So guest files are
 * ordinary typed modules for the editor, the type checker and the tests, and no bundler is needed on a
 * device. They keep two rules: every top-level name is unique among them, and nothing is imported from elsewhere.
 * A package has the text made already.
 */
import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join } from 'node:path'
import { installation } from '#base/installation.ts'

/** Guest files, each after those it needs while it is evaluated. */
export const guestFiles: readonly string[] = [
  'natives.ts',
  'region.ts',
  'inspect.ts',
  'error-document.ts',
  'output.ts',
  'recorded-clock.ts',
  'randomness.ts',
  'guest-timers.ts',
  'guest-console.ts',
  'encodings.ts',
  'structured-clone.ts',
  'guest-url.ts',
  'events.ts',
  'web-globals.ts',
  'chunk.ts',
  'invocation.ts',
  'effects.ts',
  'guest-context.ts',
  'guest-state.ts',
  'guest-publish.ts',
  'trampoline.ts',
  'boot.ts',
]

/** Node's stripper without its warning that it is experimental, which would stand on every daemon's standard error. */
function stripTypes(source: string): string {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return stripTypeScriptTypes(source)
  } finally {
    process.emitWarning = emitWarning
  }
}

/** One file's code without types, comments, imports and exports. Comments stand on lines of their own. */
export function plainScript(source: string): string {
  return (
    stripTypes(source)
      .replace(/^import\b[^;]*?\bfrom '[^']*'/gm, '')
      .replace(/^ *\/\*\*[\s\S]*?\*\//gm, '')
      .replace(/^ *\/\/.*$/gm, '')
      .replace(/^export (?=(?:async )?(?:const|let|class|function|abstract)\b)/gm, '')
      .replace(/[ \t]+$/gm, '')
      .replace(/\n{2,}/g, '\n')
      // One character of another alphabet makes V8 keep two bytes for each of the text, in every isolate.
      .replace(/[^\0-\x7f]/g, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
  )
}

/** The sources of the guest, in their order. */
export function guestSources(): string[] {
  const folder = join(dirname(installation.mainFile), 'guest')
  return guestFiles.map(file => readFileSync(join(folder, file), 'utf8'))
}

/** The text to compile: its value is `boot` (boot.ts). */
export function guestText(): string {
  return `(() => { 'use strict';\n${guestSources().map(plainScript).join('\n')}\nreturn boot })()`
}
