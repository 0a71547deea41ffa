/** Configurations of peers: files in `peers/`, in which `{word}` stands for what a run decides. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Writes a peer's configuration to `target`, its `{words}` replaced. Returns `target`. */
export function writeSettings(
  file: string,
  target: string,
  words: Readonly<Record<string, string | number>>,
): string {
  const text = readFileSync(join(import.meta.dirname, 'peers', file), 'utf8')
  writeFileSync(
    target,
    text.replaceAll(/\{([a-z]+)\}/g, (all, word) => String(words[word] ?? all)),
  )
  return target
}
