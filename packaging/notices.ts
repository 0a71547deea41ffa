/** THIRD-PARTY-NOTICES: the licence of every package whose code is in the bundle or beside it, word for word. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

interface PackageFile {
  readonly name: string
  readonly version: string
  readonly license?: string | { readonly type: string }
  readonly author?: string | { readonly name: string }
  readonly homepage?: string
}

/** One text. Errors: a package that declares no licence is refused, so that none is passed on by mistake. */
export async function thirdPartyNotices(root: string, packages: readonly string[]): Promise<string> {
  const entries = await Promise.all(packages.map(folder => entryOf(join(root, folder))))
  const head = 'Fescue contains the packages below, each under its own licence.\n'
  return [head, ...entries].join(`\n${'='.repeat(80)}\n`)
}

async function entryOf(folder: string): Promise<string> {
  const file: PackageFile = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  const licence = typeof file.license === 'object' ? file.license.type : file.license
  if (licence === undefined) throw new Error(`${file.name} declares no licence`)
  const author = typeof file.author === 'object' ? file.author.name : file.author
  const texts = await licenceTexts(folder)
  const shown =
    texts === '' ? `Licensed under ${licence}${author === undefined ? '' : ` by ${author}`}.` : texts
  return `${file.name} ${file.version} (${licence})\n${file.homepage ?? ''}\n\n${shown.trimEnd()}\n`
}

async function licenceTexts(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter(name => /^(licen[cs]e|copying|notice)/i.test(name)).sort()
  const texts = await Promise.all(names.map(name => readFile(join(folder, name), 'utf8')))
  return texts.join('\n')
}
