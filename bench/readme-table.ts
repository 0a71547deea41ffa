/**
 * The table of a result in the README, between two comments. The first names the result file:
 *
 *   <!-- bench box: bench/results/bench-box-2026-11-24.json -->
 *   …
 *   <!-- end of bench box -->
 */
import type { ProfileName } from './profile.ts'

const place = (profile: ProfileName) =>
  new RegExp(`<!-- bench ${profile}(?:: (\\S+))? -->\\n(.*?)<!-- end of bench ${profile} -->`, 's')

/** The README with the table of a result in its place. Throws when it has no place for it. */
export function withTable(readme: string, profile: ProfileName, file: string, table: string): string {
  if (!place(profile).test(readme))
    throw new Error(
      `the README has no line "<!-- bench ${profile} -->" with an "<!-- end of bench ${profile} -->" below it`,
    )
  const text = `<!-- bench ${profile}: ${file} -->\n\n${table}\n\n<!-- end of bench ${profile} -->`
  return readme.replace(place(profile), () => text)
}

/** The result file and the table that the README has; undefined without. */
export function tableIn(
  readme: string,
  profile: ProfileName,
): { readonly file: string; readonly table: string } | undefined {
  const [, file, table = ''] = place(profile).exec(readme) ?? []
  return file === undefined ? undefined : { file, table: table.trim() }
}
