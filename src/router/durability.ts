/** Which durability class a message gets: the first rule whose filter matches, else by its QoS. */
import { filterMatches } from '#base/topics.ts'
import type { Durability } from '#store/transaction.ts'

export interface DurabilityRule {
  readonly filter: string
  readonly class: Durability
}

/** The classes of a topic, worked out once per topic and cached by the router. */
export interface TopicDurability {
  readonly qos0: Durability
  readonly qos12: Durability
}

/** Without a rule QoS 0 survives a crash of the process, QoS 1 and 2 a loss of power. */
export function durabilityOf(topic: string, rules: readonly DurabilityRule[]): TopicDurability {
  const rule = rules.find(candidate => filterMatches(candidate.filter, topic))
  return rule === undefined ? { qos0: 'process', qos12: 'power' } : { qos0: rule.class, qos12: rule.class }
}
