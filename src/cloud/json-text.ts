/**
 * Cuts the text of a JSON array into the texts of its elements, so that events are kept as they came: a number
 * as `1.0` or one beyond 2^53 would not survive being parsed and written again.
 *
 * The text must be valid JSON (parse it first); this only finds commas at depth one. Strings, most of the
 * text, are jumped over with `indexOf`.
 */

const quote = 34
const backslash = 92
const comma = 44

/** Index behind the string that starts with the quote at `start`. */
function endOfString(text: string, start: number): number {
  let at = start
  for (;;) {
    at = text.indexOf('"', at + 1)
    let backslashes = 0
    while (text.charCodeAt(at - 1 - backslashes) === backslash) backslashes++
    if (backslashes % 2 === 0) return at + 1
  }
}

/** Texts of the elements of a non-empty array given as valid JSON; line feeds between tokens become spaces. */
export function elementTexts(text: string): string[] {
  const elements: string[] = []
  let depth = 0
  let start = text.indexOf('[') + 1
  let at = start
  while (at < text.length) {
    const code = text.charCodeAt(at)
    if (code === quote) {
      at = endOfString(text, at)
      continue
    }
    if (code === 123 || code === 91) depth++
    else if (code === 125 || code === 93) {
      if (depth === 0) break
      depth--
    } else if (code === comma && depth === 0) {
      elements.push(oneLine(text.slice(start, at)))
      start = at + 1
    }
    at++
  }
  elements.push(oneLine(text.slice(start, at)))
  return elements
}

/** The text without surrounding blanks and on one line: a line feed in valid JSON is only ever a blank. */
export function oneLine(text: string): string {
  return text.trim().replaceAll('\n', ' ')
}
