/**
 * Topics and topic filters by MQTT 3.1.1 section 4.7: checks and matching of one filter against one topic.
 * The index of many filters is `router/topic-index.ts`.
 */

/** Levels that a topic or filter may have; more are refused (a bound of ours, D6). */
export const topicLevelsMax = 100
/** Bytes that a topic or filter may have in UTF-8 [MQTT-4.7.3-3]. */
export const topicBytesMax = 65_535

function problemOfText(text: string): string | undefined {
  if (text.length === 0) return 'is empty [MQTT-4.7.3-1]'
  if (text.includes('\u0000')) return 'contains a NUL character [MQTT-4.7.3-2]'
  if (text.length > topicBytesMax / 3 && Buffer.byteLength(text) > topicBytesMax)
    return `is longer than ${topicBytesMax} bytes`
  let levels = 1
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) === 47) levels++
  return levels > topicLevelsMax ? `has more than ${topicLevelsMax} levels` : undefined
}

/** What is wrong with a topic to publish to, or undefined. */
export function problemOfTopic(topic: string): string | undefined {
  if (topic.includes('+') || topic.includes('#')) return 'contains a wildcard [MQTT-3.3.2-2]'
  return problemOfText(topic)
}

/** What is wrong with a topic filter, or undefined. */
export function problemOfFilter(filter: string): string | undefined {
  const problem = problemOfText(filter)
  if (problem !== undefined) return problem
  const levels = filter.split('/')
  for (const [i, level] of levels.entries()) {
    if (level.includes('#') && (level !== '#' || i !== levels.length - 1))
      return '"#" stands only alone in the last level [MQTT-4.7.1-2]'
    if (level.includes('+') && level !== '+') return '"+" stands only alone in its level [MQTT-4.7.1-3]'
  }
  return undefined
}

/** Whether `filter` (valid) matches `topic` (valid). `#` and `+` in first place do not match `$…` [MQTT-4.7.2-1]. */
export function filterMatches(filter: string, topic: string): boolean {
  if (filter === topic) return true
  if (topic.startsWith('$') && (filter.startsWith('+') || filter.startsWith('#'))) return false
  const wanted = filter.split('/')
  const levels = topic.split('/')
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true
    if (i >= levels.length) return false
    if (level !== '+' && level !== levels[i]) return false
  }
  return wanted.length === levels.length
}

/** Whether every topic that `inner` matches is matched by `outer`: used for grants. Both valid filters. */
export function filterCovers(outer: string, inner: string): boolean {
  if (inner.startsWith('$') && (outer.startsWith('+') || outer.startsWith('#'))) return false
  const wide = outer.split('/')
  const narrow = inner.split('/')
  for (const [i, level] of wide.entries()) {
    if (level === '#') return true
    const other = narrow[i]
    if (other === undefined || other === '#') return false
    if (level !== '+' && level !== other) return false
  }
  return wide.length === narrow.length
}

/** Whether some topic is matched by both filters (valid). */
export function filtersOverlap(a: string, b: string): boolean {
  // [MQTT-4.7.2-1]: a wildcard in first place does not match a topic that starts with "$".
  if (a.startsWith('$') !== b.startsWith('$')) {
    const open = a.startsWith('$') ? b : a
    if (open.startsWith('+') || open.startsWith('#')) return false
  }
  const left = a.split('/')
  const right = b.split('/')
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const one = left[i]
    const other = right[i]
    if (one === '#' || other === '#') return true
    if (one === undefined || other === undefined) return false
    if (one !== '+' && other !== '+' && one !== other) return false
  }
  return true
}
