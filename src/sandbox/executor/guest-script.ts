/**
 * The guest's text, compiled once: later isolates take V8's code cache of the first, which spares most of their start.
 *
 * The cache never leaves the process: one from elsewhere would be machine code to be trusted.
 */
import type ivm from 'isolated-vm'

export class GuestScript {
  readonly #text: string
  #cache: ivm.ExternalCopy<ArrayBuffer> | undefined

  constructor(text: string) {
    this.#text = text
  }

  async compile(isolate: ivm.Isolate): Promise<ivm.Script> {
    const filename = 'fescue:guest'
    if (this.#cache !== undefined)
      return isolate.compileScript(this.#text, { filename, cachedData: this.#cache } as ivm.ScriptInfo)
    const script = await isolate.compileScript(this.#text, {
      filename,
      produceCachedData: true,
    } as ivm.ScriptInfo)
    this.#cache = (script as { cachedData?: ivm.ExternalCopy<ArrayBuffer> }).cachedData
    return script
  }
}
