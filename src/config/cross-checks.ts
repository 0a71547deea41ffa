/**
 * What a schema cannot say: that filters are valid, that names which point somewhere point at something, that
 * what excludes each other does not stand side by side.
 */
import { nearest } from '#base/nearest.ts'
import { parseBytes, parseDuration } from '#base/quantity.ts'
import { problemOfFilter } from '#base/topics.ts'
import type { KeyPath } from '#base/yaml-document.ts'
import type { RawConfig } from './config-schema.ts'
import { type Finding, finding } from './finding.ts'
import { routeName } from './route-name.ts'
import { uplinkFindings } from './uplink-checks.ts'

export function crossChecks(config: RawConfig): readonly Finding[] {
  return [
    ...uplinkFindings(config),
    ...filterFindings(config),
    ...routeFindings(config),
    ...userFindings(config),
    ...portFindings(config),
    ...quantityFindings(config),
  ]
}

function filterFindings(config: RawConfig): readonly Finding[] {
  const lists = [
    ['routes', config.routes],
    ['durability', config.durability],
  ] as const
  return lists.flatMap(([list, entries]) =>
    entries.flatMap(({ filter }, index) => {
      const problem = problemOfFilter(filter)
      return problem === undefined ? [] : [finding([list, index, 'filter'], `"${filter}" ${problem}`)]
    }),
  )
}

function routeFindings(config: RawConfig): readonly Finding[] {
  const uplinks = [...(config.uplink === undefined ? [] : ['default']), ...Object.keys(config.uplinks)]
  const names = new Map<string, number>()
  return config.routes.flatMap((route, index) => {
    const path = ['routes', index]
    if (!uplinks.includes(route.to)) return [finding([...path, 'to'], missingUplink(route.to, uplinks))]
    const name = routeName(route)
    const twin = names.get(name)
    names.set(name, index)
    if (twin === undefined) return []
    return [finding(path, `has the same name as routes[${twin}], "${name}": give one of them another name`)]
  })
}

function missingUplink(to: string, uplinks: readonly string[]): string {
  if (uplinks.length === 0) return `names the uplink "${to}", but there is none: add the key uplink`
  const close = nearest(to, uplinks)
  return close === undefined
    ? `names no uplink: there are ${uplinks.join(', ')}`
    : `names no uplink "${to}": did you mean ${close}?`
}

function userFindings(config: RawConfig): readonly Finding[] {
  const names = config.users.map(user => user.name)
  return config.users.flatMap(({ name, password, passwordFile }, index) => {
    const found: Finding[] = []
    if (names.indexOf(name) !== index)
      found.push(finding(['users', index, 'name'], `"${name}" is there twice`))
    if ((password === undefined) === (passwordFile === undefined))
      found.push(finding(['users', index], 'needs password or passwordFile, one of them'))
    return found
  })
}

function portFindings({ mqtt, http }: RawConfig): readonly Finding[] {
  if (mqtt.port === 0 || mqtt.port !== http.port) return []
  return [finding(['http', 'port'], `${http.port} is the port of mqtt too: choose another`)]
}

/** Sizes and times whose text is well formed but past exact integers. */
function quantityFindings({ mqtt, limits, routes }: RawConfig): readonly Finding[] {
  const values: [KeyPath, string | number | undefined][] = [[['mqtt', 'maxPacketBytes'], mqtt.maxPacketBytes]]
  for (const [key, value] of Object.entries(limits)) values.push([['limits', key], value])
  for (const [index, { ttl, maxBytes }] of routes.entries())
    values.push([['routes', index, 'ttl'], ttl], [['routes', index, 'maxBytes'], maxBytes])
  return values.flatMap(([path, value]) => {
    if (value === undefined || String(value).endsWith('%')) return []
    const parsed = parseBytes(value) ?? parseDuration(value)
    return parsed === undefined ? [finding(path, `is too large: ${value}`)] : []
  })
}
