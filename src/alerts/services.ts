import type { KeyServices } from '../keys/services.ts'
import type { OrderServices } from '../orders/services.ts'

/** What watching keys needs of the process. */
export interface AlertServices
  extends Pick<KeyServices, 'mac' | 'keepHead'>,
    Pick<OrderServices, 'db' | 'distribution' | 'databaseTime' | 'log'> {
  /** Postgres' time in milliseconds since 1970, as the process knows it. */
  now(): number
}
