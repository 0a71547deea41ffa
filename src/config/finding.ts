/** Something in a config that is wrong, at its key, in words. */
import { type KeyPath, pathText } from '#base/yaml-document.ts'

export interface Finding {
  readonly path: KeyPath
  readonly message: string
}

/** The message begins with the path of the key. */
export function finding(path: KeyPath, message: string): Finding {
  return { path, message: `${pathText(path)} ${message}` }
}
