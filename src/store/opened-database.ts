/** A database that is open but not read yet: what `open.ts` found, for those who bring the store up. */
import type { Backend } from './backend.ts'
import type { EndNote } from './end-note.ts'
import type { Journal } from './journal.ts'
import type { Place } from './place.ts'
import type { SalvageNote } from './salvage-note.ts'
import type { Starts } from './starts.ts'

export interface OpenedDatabase {
  readonly backend: Backend
  readonly place: Place
  /** The folder was made by this start. */
  readonly isNew: boolean
  /** The database was damaged, and this start did something about it. */
  readonly salvage: SalvageNote | undefined
  /** The last salvage, as long as what it put aside is there; changes when the database is salvaged in use. */
  readonly lastSalvage: () => SalvageNote | undefined
  readonly starts: Starts | undefined
  /** Absent for a store that keeps nothing, or lets LevelDB sync itself. */
  readonly journal: Journal | undefined
  readonly endNote: EndNote | undefined
}
