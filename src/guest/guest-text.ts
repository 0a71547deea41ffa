/**
 * The guest's code as one text for an isolate.
 *
 * In a checkout the text is made from the files beside this one: types are stripped by Node's own stripper, `import` and
 * `export` go, and the rest follows in the order below within one function, whose value is `boot`. So guest files are
 * ordinary typed modules for the editor, the type checker and the tests, and no bundler is needed on a
 * device. They keep two rules: every top-level name is unique among them, and nothing is imported from elsewhere.
 * A published build has the text made already and passes it in.
 */
import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'

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
  return stripTypes(source)
    .replace(/^import\b[^;]*?\bfrom '[^']*'/gm, '')
    .replace(/^ *\/\*\*[\s\S]*?\*\//gm, '')
    .replace(/^ *\/\/.*$/gm, '')
    .replace(/^export (?=(?:async )?(?:const|let|class|function|abstract)\b)/gm, '')
    .replace(/[ \t]+$/gm, '')
    .replace(/\n{2,}/g, '\n')
}

/** The sources of the guest, in their order. */
export function guestSources(): string[] {
  return guestFiles.map(file => readFileSync(new URL(file, import.meta.url), 'utf8'))
}

/** The text to compile: its value is `boot` (boot.ts). */
export function guestText(): string {
  return `(() => { 'use strict';\n${guestSources().map(plainScript).join('\n')}\nreturn boot })()`
}
