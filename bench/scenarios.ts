/** All scenarios, in the order in which they run and are shown. */
import type { Scenario } from './scenario.ts'
import { backlog } from './scenarios/backlog.ts'
import { fanIn, fanOut, persistentSubscriber } from './scenarios/brokers.ts'
import { calls } from './scenarios/calls.ts'
import { flow, flowFrom10, paced100, paced1000 } from './scenarios/flow.ts'
import { kills } from './scenarios/kills.ts'
import { memory10, memory100 } from './scenarios/memory.ts'
import { start } from './scenarios/start.ts'
import { wear10, wear1000, wear10000 } from './scenarios/wear.ts'

export const scenarios: readonly Scenario[] = [
  flow,
  flowFrom10,
  paced1000,
  paced100,
  persistentSubscriber,
  fanOut,
  fanIn,
  wear10,
  wear1000,
  wear10000,
  start,
  memory10,
  memory100,
  calls,
  backlog,
  kills,
]
