/**
 * The API as the page calls it: beside itself, with the token of the device.
 *
 * The token comes once in the address after `#` (which no server sees), is kept for this tab alone, and is taken
 * out of the address, so that it is not in the history or in a picture of the screen.
 */

const key = 'fescue-token'

/** The API asks for a token, or for another one. */
export class Unauthorized extends Error {}

export function takeTokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token')
  if (token === null) return
  keepToken(token)
  history.replaceState(null, '', location.pathname + location.search)
}

export function hasToken() {
  return sessionStorage.getItem(key) !== null
}

export function keepToken(token) {
  sessionStorage.setItem(key, token)
}

export function forgetToken() {
  sessionStorage.removeItem(key)
}

export async function callApi(path, signal) {
  const response = await open(path, signal)
  return response.json()
}

/** Calls `onEvent` for each event until the stream ends. */
export async function streamEvents(signal, onEvent) {
  const response = await open('api/v1/events', signal)
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    const lines = (rest + value).split('\n')
    rest = lines.pop()
    for (const line of lines) if (line !== '') onEvent(JSON.parse(line))
  }
}

async function open(path, signal) {
  const token = sessionStorage.getItem(key)
  const headers = token === null ? {} : { authorization: `Bearer ${token}` }
  const response = await fetch(path, { headers, signal })
  if (response.status === 401) throw new Unauthorized()
  if (!response.ok) throw new Error(`${path}: ${response.status}`)
  return response
}
