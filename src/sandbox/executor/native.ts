/** isolated-vm, loaded from its file: its own loader looks in places that the executor may not read. */
import type ivm from 'isolated-vm'

export type IsolatedVm = typeof ivm

export function loadIsolatedVm(path: string): IsolatedVm {
  const module: { exports: { ivm?: IsolatedVm } } = { exports: {} }
  process.dlopen(module, path)
  if (module.exports.ivm === undefined) throw new Error(`${path} is not isolated-vm`)
  return module.exports.ivm
}
