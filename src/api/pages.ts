/**
 * The files of the page, served from one folder: those that lie there at the start, by name, and nothing else.
 *
 * No path is ever joined from a request. The files hold no secrets, so they need no token: the page asks for it.
 */
import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import type { Reply } from './reply.ts'
import type { Route } from './route-table.ts'

/** Files of the page. */
const pageFilesMax = 100

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
}

/** Only our own scripts and styles, no frames, no base, no plugins: what MQTT brings is text and stays it. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

/** `GET /` is `index.html`; without a folder, or without that file, there is no page. */
export function pageRoutes(folder: string | undefined): readonly Route[] {
  if (folder === undefined) return []
  const names = readdirSync(folder).filter(name => types[extname(name)] !== undefined)
  return names.slice(0, pageFilesMax).map(name => ({
    method: 'GET',
    path: name === 'index.html' ? '/' : `/${name}`,
    access: 'open',
    handle: () => page(join(folder, name)),
  }))
}

async function page(file: string): Promise<Reply> {
  return {
    kind: 'body',
    status: 200,
    type: types[extname(file)] ?? 'application/octet-stream',
    body: await readFile(file),
    headers: {
      'content-security-policy': contentSecurityPolicy,
      'cross-origin-opener-policy': 'same-origin',
      'x-frame-options': 'DENY',
    },
  }
}
