/**
 * The name of a route, which names its log on disk: so it must not change when other routes come and go.
 *
 * Without a `name` it is made of the route's own `to` and `filter` alone: `alarms/#` to the default uplink is
 * `alarms.all`. Two routes that come out equal are refused, never renumbered.
 */
import { createHash } from 'node:crypto'

/** Characters of a route's name: `outbox.NAME.9` must fit into 64. */
export const routeNameMax = 55

interface Named {
  readonly name?: string | undefined
  readonly to: string
  readonly filter: string
}

export function routeName(route: Named): string {
  if (route.name !== undefined) return route.name
  const words = route.filter.split('/').map(level => (level === '#' ? 'all' : level === '+' ? 'any' : level))
  if (route.to !== 'default') words.unshift(route.to)
  const plain = words.join('.')
  const slug = plain.replace(/[^A-Za-z0-9._-]+/g, '-')
  if (slug === plain && slug.length <= routeNameMax) return slug
  // Cut or replaced characters could make two filters equal: a hash keeps them apart.
  const hash = createHash('sha256').update(`${route.to}\n${route.filter}`).digest('hex').slice(0, 8)
  return `${slug.slice(0, routeNameMax - 9)}-${hash}`
}
