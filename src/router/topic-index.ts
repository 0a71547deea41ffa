/**
 * One index of many topic filters: which values subscribed to what matches a topic (MQTT 3.1.1 section 4.7).
 *
 * A trie by level. Matching walks at most three branches a level (the literal, `+`, `#`), so its cost grows
 * with the depth of the topic and not with the number of filters. `version` changes with every edit, so that
 * callers may cache what a topic matched.
 */

interface Node<Value> {
  readonly children: Map<string, Node<Value>>
  readonly values: Map<Value, FilterMatch<Value>>
}

export interface FilterMatch<Value> {
  readonly filter: string
  readonly value: Value
}

export class TopicIndex<Value> {
  readonly #root: Node<Value> = newNode()
  #size = 0
  #version = 0

  /** Pairs of filter and value. */
  get size(): number {
    return this.#size
  }

  get version(): number {
    return this.#version
  }

  /** Adds the pair; adding it again changes nothing. The filter must be valid. */
  add(filter: string, value: Value): void {
    let node = this.#root
    for (const level of filter.split('/')) {
      let child = node.children.get(level)
      if (child === undefined) {
        child = newNode()
        node.children.set(level, child)
      }
      node = child
    }
    if (node.values.has(value)) return
    node.values.set(value, { filter, value })
    this.#size += 1
    this.#version += 1
  }

  /** Removes the pair; returns whether it was there. Empty branches are dropped. */
  remove(filter: string, value: Value): boolean {
    const path: [Node<Value>, string][] = []
    let node = this.#root
    for (const level of filter.split('/')) {
      const child = node.children.get(level)
      if (child === undefined) return false
      path.push([node, level])
      node = child
    }
    if (!node.values.delete(value)) return false
    this.#size -= 1
    this.#version += 1
    for (const [parent, level] of path.reverse()) {
      const child = parent.children.get(level)
      if (child === undefined || child.values.size > 0 || child.children.size > 0) break
      parent.children.delete(level)
    }
    return true
  }

  /** All pairs whose filter matches the topic. A value appears once for each of its matching filters. */
  match(topic: string): FilterMatch<Value>[] {
    const found: FilterMatch<Value>[] = []
    collect(this.#root, topic.split('/'), 0, found)
    return found
  }
}

function newNode<Value>(): Node<Value> {
  return { children: new Map(), values: new Map() }
}

function collect<Value>(
  node: Node<Value>,
  levels: readonly string[],
  depth: number,
  found: FilterMatch<Value>[],
): void {
  // [MQTT-4.7.2-1]: a wildcard in first place does not match a topic that starts with "$".
  const wildcards = depth > 0 || !levels[0]?.startsWith('$')
  const rest = wildcards ? node.children.get('#') : undefined
  if (rest !== undefined) found.push(...rest.values.values())
  const level = levels[depth]
  if (level === undefined) {
    found.push(...node.values.values())
    return
  }
  const exact = node.children.get(level)
  if (exact !== undefined) collect(exact, levels, depth + 1, found)
  const any = wildcards ? node.children.get('+') : undefined
  if (any !== undefined) collect(any, levels, depth + 1, found)
}
