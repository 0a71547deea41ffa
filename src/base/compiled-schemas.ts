/**
 * Checks that were compiled ahead. In a checkout there are none; a package has a module in this one's place that knows
 * every `*.schema.json` (packaging/compiled-schemas.ts), so that its daemon does without ajv: 4 MB and 40 ms.
 */
import type { ValidateFunction } from 'ajv'

/** The check of this very schema, `$schema` left out; undefined when it is to be compiled. */
export function compiledCheck(_rules: object): ValidateFunction | undefined {
  return undefined
}
