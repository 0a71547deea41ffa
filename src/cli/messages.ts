/** Messages as the API streams them. */
import { formatPayload } from './format.ts'

export interface ApiMessage {
  readonly time: number
  readonly topic: string
  readonly qos: number
  readonly retain: boolean
  /** The payload when it is UTF-8 text. */
  readonly payload?: string
  /** Otherwise. */
  readonly payloadBase64?: string
  readonly origin?: string
}

/** The payload as text for a screen: what is no text is named by its size. */
export function payloadText(
  message: Pick<ApiMessage, 'payload' | 'payloadBase64'>,
  charactersMax: number,
): string {
  if (message.payload !== undefined) return formatPayload(message.payload, charactersMax)
  const bytes = Buffer.from(message.payloadBase64 ?? '', 'base64').length
  return `(${bytes} bytes)`
}
