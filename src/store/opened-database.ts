/** A database that is open but not read yet: what `open.ts` found, for those who bring the store up. */
import type { Backend } from './backend.ts'
import type { EndNote } from './end-note.ts'
import type { Journal } from './journal.ts'
import type { Place } from './place.ts'

export interface OpenedDatabase {
  readonly backend: Backend
  readonly place: Place
  /** The folder was made by this start. */
  readonly isNew: boolean
  /** The database could not be opened as it was. */
  readonly salvaged: boolean
  /** Absent for a store that keeps nothing, or lets LevelDB sync itself. */
  readonly journal: Journal | undefined
  readonly endNote: EndNote | undefined
}
