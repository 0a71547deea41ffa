/** What the supervisor tells an executor at its start: JSON in the first argument. */
export interface ExecutorSettings {
  /** File of isolated-vm's native module. */
  readonly native: string
  /** Files that make up the library `buffer`, by module name; empty when it is not installed. */
  readonly bufferFiles: Readonly<Record<string, string>>
  /** File that holds the guest's text; made from its sources when absent. */
  readonly guestFile?: string
}
