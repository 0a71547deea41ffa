/** The check that runs before anything else is loaded: what follows needs Node 24. */

/** One line that says what to do when `version` (as `process.versions.node`) is too old, else undefined. */
export function problemOfNode(version: string): string | undefined {
  const major = Number.parseInt(version, 10)
  if (major >= 24) return undefined
  return `fescue: this is Node ${version}, and Fescue needs 24 or newer: run it through npm, which brings its own (npm start, or npm run fescue -- COMMAND)`
}
