/**
 * What a function may publish to, asked per message: the second of two walls (D5). The guest checks first, so
 * a refusal here means that code got around it.
 */
import { filterMatches, problemOfTopic } from '#base/topics.ts'

/** Topics whose answer is remembered (D6). */
const rememberedMax = 1_000

export class PublishGrants {
  readonly filters: readonly string[]
  readonly #allowed = new Set<string>()

  constructor(filters: readonly string[]) {
    this.filters = filters
  }

  /** Why the function may not publish to this topic, with the mend; undefined when it may. */
  refusal(topic: string): string | undefined {
    if (this.#allowed.has(topic)) return undefined
    const problem = problemOfTopic(topic)
    if (problem !== undefined) return `the topic "${topic}" ${problem}`
    if (!this.filters.some(filter => filterMatches(filter, topic)))
      return `not allowed to publish to "${topic}": add it to permissions.publish in function.yaml`
    if (this.#allowed.size >= rememberedMax) this.#allowed.clear()
    this.#allowed.add(topic)
    return undefined
  }
}
