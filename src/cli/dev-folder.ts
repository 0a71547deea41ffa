/** Where `fescue dev` keeps its data: shared by `dev` and by the commands that look for a running one. */
import { join } from 'node:path'

export function devDataFolder(cwd: string): string {
  return join(cwd, 'data', 'dev')
}
